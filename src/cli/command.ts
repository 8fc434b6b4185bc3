// The command `damselfly`: which words call for what, and what is told of a failure. It does not end the process, so that tests can
// call it as a function.
import { KernelError } from '../base/errno.ts'
import { discipline } from './discipline.ts'
import { run } from './run.ts'
import { stat } from './stat.ts'
import { trace } from './trace.ts'
import { up } from './up.ts'
import { USAGE, UsageError } from './usage.ts'

/**
 * Does what the words say.
 * @throws UsageError, or what `parseArgs` of node:util throws, for wrong words; others where it fails: see `failure`
 */
export async function command([first, ...rest]: readonly string[]): Promise<void> {
  if (first === undefined) return up([])
  // Before the help: what is behind the program's name is the program's.
  if (first === 'run') return run(rest)
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

/** What the user is told of an error, and the process's exit code: 2 where his words were wrong. A bug is told as it is, with its stack. */
export function failure(error: unknown): { readonly exitCode: 1 | 2; readonly told: unknown } {
  if (error instanceof UsageError || isParseError(error)) {
    return { exitCode: 2, told: `damselfly: ${(error as Error).message}\n\n${USAGE}` }
  }
  return { exitCode: 1, told: error instanceof KernelError ? `damselfly: ${error.message}` : error }
}

/** What node:util's parseArgs throws for words that it does not know. */
function isParseError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}
