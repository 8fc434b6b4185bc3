// Which instance a command is about.
import { Errno, KernelError } from '../base/errno.ts'
import { wholeNumber } from './argument.ts'
import { runningInstances } from './control.ts'
import { UsageError } from './usage.ts'

/** The most that a system gives (Linux: PID_MAX_LIMIT). */
const PID_MAX = 4_194_304

/** The value of `--pid`; 0: none was given. @throws UsageError */
export function processOf(text: string | undefined): number {
  return wholeNumber('pid', text, 1, PID_MAX, 0)
}

/** The only one that runs. @throws KernelError ENOENT; UsageError where several do */
export async function onlyInstance(syscall: string): Promise<number> {
  const pids = await runningInstances()
  if (pids.length === 1) return pids[0]!
  if (pids.length === 0) throw new KernelError(Errno.ENOENT, 'no damselfly runs: start one by "damselfly up"', syscall)
  throw new UsageError(`${pids.length} instances run: give --pid ${pids.join(', or --pid ')}`)
}
