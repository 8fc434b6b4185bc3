// How much of what a function calls V8 compiles into it. A packet's way is some hundred small functions, most of them called from one place; V8's
// bound of 920 bytes of bytecode for all that one function takes in cuts it where the bound happens to be reached, elsewhere in each run. With
// more room the same code does 1.1 to 1.3 times as much (bench/inlining.ts). V8 has no smaller place for that than the process.
import { setFlagsFromString } from 'node:v8'

const FLAG = '--max-inlined-bytecode-size-cumulative'
/** With more it becomes no faster; what is compiled becomes larger, and compiling it longer. */
const BYTES = 4000

/** What V8 has to be told in a process that was started with these options: nothing where one of them is that bound. */
export function inliningFlag(execArgv: readonly string[]): string | undefined {
  const isGiven = execArgv.some((option) => option.replaceAll('_', '-').startsWith(FLAG))
  return isGiven ? undefined : `${FLAG}=${BYTES}`
}

/** Raises the bound for what is compiled from now on, in all threads of the process; unless its owner has set it: `node --max-inlined-bytecode-size-cumulative=920`. */
export function inlineMore(): void {
  const flag = inliningFlag(process.execArgv)
  if (flag !== undefined) setFlagsFromString(flag)
}
