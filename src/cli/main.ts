#!/usr/bin/env node
// The process of the command `damselfly`: its words, its exit code, and what it prints of a failure.
import { command, failure } from './command.ts'

/** What a shell tells of a program that wrote where nobody reads any more: 128 + SIGPIPE, which Node does not die of. */
const BROKEN_PIPE = 141

// As in `damselfly | head`: the end, and no bug.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(BROKEN_PIPE)
})

try {
  await command(process.argv.slice(2))
} catch (error) {
  const { exitCode, told } = failure(error)
  process.exitCode = exitCode
  console.error(told)
}
