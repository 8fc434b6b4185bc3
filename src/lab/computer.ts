// The machine that measured, as its figures must be read with.
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'

export interface Computer {
  /** Those that this process may use. */
  readonly processors: number
  readonly model: string
  readonly architecture: string
  readonly kernel: string
  readonly node: string
  readonly v8: string
  readonly memoryBytes: number
  /** Processes that ran or wanted to, on average over the minute before (loadavg(5)): others measure along. */
  readonly load: number
}

export function describeComputer(): Computer {
  return {
    processors: availableParallelism(),
    model: cpus()[0]?.model.trim() || 'unknown',
    architecture: arch(),
    kernel: `${type()} ${release()}`,
    node: process.version,
    v8: process.versions.v8,
    memoryBytes: totalmem(),
    load: loadavg()[0] ?? 0,
  }
}

/** From this share of its processors on, what others do shows in the figures. */
const BUSY_SHARE = 0.5

export function isBusy({ load, processors }: Computer): boolean {
  return load > processors * BUSY_SHARE
}

/** In what two differ so that their figures must not be mixed; undefined where they do not. Memory may vary a little in a VM. */
export function computerDifference(saved: Computer, here: Computer): string | undefined {
  for (const name of ['processors', 'model', 'architecture', 'kernel', 'node'] as const) {
    if (saved[name] !== here[name]) return `${name} was ${saved[name]}, and here it is ${here[name]}`
  }
  return undefined
}
