// How much is done together before others have their turn: what a batch can be at most. Limits that a machine is booted with,
// for whoever wants to know what batches save (src/lab/experiments/batch.ts).
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'

export interface Batches {
  /** Packets taken from one queue of a device in one turn of the run loop. Default 64. */
  readonly device: number
  /** Messages that a port serves before others are served, where the port does not say otherwise. Default 32. */
  readonly port: number
  /** Entries of a ring, of up to four messages each, that are published together; the end of a turn publishes all. Default 16. */
  readonly ipi: number
}

const USUAL: Batches = { device: Limits.deviceBatch, port: Limits.portBatch, ipi: Limits.ipiBatch }

/** @throws KernelError EINVAL for a limit that is no whole number from 1 to 1024 */
export function batchesOf(wanted: Partial<Batches> = {}): Batches {
  for (const [name, value] of Object.entries(wanted)) {
    if (!Object.hasOwn(USUAL, name)) {
      throw new KernelError(Errno.EINVAL, `there are no batches of "${name}": give device, port or ipi`, 'boot')
    }
    if (!(Number.isInteger(value) && value >= 1 && value <= Limits.batchMax)) {
      const sentence = `batches.${name} is ${value}: give a whole number from 1 to ${Limits.batchMax}`
      throw new KernelError(Errno.EINVAL, sentence, 'boot')
    }
  }
  return { ...USUAL, ...wanted }
}
