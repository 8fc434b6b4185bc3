// damselfly stat: the tables of an instance that runs, from its own counters.
import { parseArgs } from 'node:util'
import { Errno, KernelError } from '../base/errno.ts'
import { decimalNumber, wholeNumber } from './argument.ts'
import { askInstance, runningInstances } from './control.ts'
import { report } from './report.ts'
import { difference, type Snapshot } from './snapshot.ts'
import { UsageError } from './usage.ts'

export async function stat(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      pid: { type: 'string' },
      watch: { type: 'string' },
      pairs: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  })
  const seconds = decimalNumber('watch', values.watch, 0.2, 3600, 0)
  const pid = wholeNumber('pid', values.pid, 1, 4194304, 0) || (await onlyInstance())
  const show = (snapshot: Snapshot, heading: string) => {
    if (values.json) console.log(JSON.stringify(snapshot))
    else console.log(`${heading}\n\n${report(snapshot, values.pairs)}`)
  }
  let earlier = await askInstance(pid)
  show(earlier, `${earlier.title} (process ${pid}), since boot ${(earlier.atUs / 1e6).toFixed(1)} s ago`)
  while (seconds > 0) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    const later = await askInstance(pid)
    // A screen of its own each time, where there is a screen.
    if (process.stdout.isTTY && !values.json) console.log('\x1b[H\x1b[2J')
    show(
      difference(later, earlier),
      `${later.title} (process ${pid}), the last ${((later.atUs - earlier.atUs) / 1e6).toFixed(1)} s`,
    )
    earlier = later
  }
}

async function onlyInstance(): Promise<number> {
  const pids = await runningInstances()
  if (pids.length === 1) return pids[0]!
  if (pids.length === 0) throw new KernelError(Errno.ENOENT, 'no damselfly runs: start one by "damselfly up"', 'stat')
  throw new UsageError(`${pids.length} instances run: give --pid ${pids.join(', or --pid ')}`)
}
