#!/usr/bin/env node
// The command `damselfly`.
import { KernelError } from '../base/errno.ts'
import { discipline } from './discipline.ts'
import { run as runProgram } from './run.ts'
import { stat } from './stat.ts'
import { trace } from './trace.ts'
import { up } from './up.ts'
import { USAGE, UsageError } from './usage.ts'

const [first, ...rest] = process.argv.slice(2)

/** What a shell tells of a program that wrote where nobody reads any more: 128 + SIGPIPE, which Node does not die of. */
const BROKEN_PIPE = 141

async function run(): Promise<void> {
  if (first === undefined) return up([])
  // Before the help: what is behind the program's name is the program's.
  if (first === 'run') return runProgram(rest)
  if (rest.includes('--help') || rest.includes('-h')) return console.log(USAGE)
  if (first === 'up') return up(rest)
  if (first === 'stat') return stat(rest)
  if (first === 'discipline') return discipline(rest)
  if (first === 'trace') return trace(rest)
  // Loaded only here: no other command needs any of it.
  if (first === 'lab') return (await import('./lab.ts')).lab(rest)
  if (first === 'calibrate') return (await import('./calibrate.ts')).calibrate(rest)
  if (first === 'help' || first === '--help' || first === '-h') return console.log(USAGE)
  if (first.startsWith('-')) return up([first, ...rest])
  throw new UsageError(`there is no command "${first}"`)
}

// As in `damselfly | head`: the end, and no bug.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(BROKEN_PIPE)
})

try {
  await run()
} catch (error) {
  process.exitCode = 1
  if (error instanceof UsageError || isParseError(error)) {
    process.exitCode = 2
    console.error(`damselfly: ${(error as Error).message}\n\n${USAGE}`)
  } else if (error instanceof KernelError) console.error(`damselfly: ${error.message}`)
  else console.error(error)
}

/** What node:util's parseArgs throws for words that it does not know. */
function isParseError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}
