// How a cell is measured. A workload is the default export of a file in workloads/, called by the file's name; it runs in a
// process of its own (cell.ts), once, and may leave it as it likes: the process ends behind it.
import { existsSync } from 'node:fs'
import { Errno, KernelError } from '../base/errno.ts'
import type { CellParameters } from './experiment.ts'

/** A table that a workload took down beside its metrics, such as the hand-offs of its machine. */
export interface MeasuredTable {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (string | number)[])[]
}

export interface Measured {
  /** Finite numbers, in base units (an experiment's metric scales them for show). */
  readonly metrics: { readonly [name: string]: number }
  readonly tables?: { readonly [name: string]: MeasuredTable }
}

/** This machine cannot measure it, for a reason that is no failure: too few processors, no right to open a TUN device. */
export interface Impossible {
  readonly impossible: string
}

export interface Workload {
  readonly name: string
  /**
   * Measures for about `seconds`, after warming up (settle.ts). `seed` is of this cell and repetition: a run
   * again by the plan gets the same. What it throws is recorded as the cell's failure. `calibration` is a file of costs, for those
   * that model (model/); without it there are those that came with this version.
   */
  run(parameters: CellParameters, seconds: number, seed: number, calibration?: string): Promise<Measured | Impossible>
}

/** Where the workloads are. */
export const WORKLOADS = new URL('./workloads/', import.meta.url)

/** @throws KernelError ENOENT where there is no such workload */
export function workloadModule(name: string, folder: URL = WORKLOADS): URL {
  const url = new URL(`${name}.js`, folder)
  // A plan is a file that may come from anywhere: its names lead to nothing outside the folder.
  if (!/^[a-z][a-z0-9-]*$/.test(name) || !existsSync(url)) {
    throw new KernelError(Errno.ENOENT, `there is no workload "${name}": is the plan from another version?`, 'lab')
  }
  return url
}

/** @throws KernelError EINVAL where the module is no workload */
export async function loadWorkload(url: URL | string): Promise<Workload> {
  const { default: workload }: { default?: Partial<Workload> } = await import(String(url))
  if (typeof workload?.run !== 'function' || typeof workload.name !== 'string') {
    const sentence = `${url} is no workload: export default { name, async run(parameters, seconds, seed) { … } }`
    throw new KernelError(Errno.EINVAL, sentence, 'lab')
  }
  return workload as Workload
}
