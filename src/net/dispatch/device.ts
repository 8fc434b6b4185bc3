// A device whose queue lies behind a boundary: frames wait for the boundary's thread before they reach it, and it is read by
// whoever reads the device itself.
import type { Address } from '../../base/struct.ts'
import type { Deliver, DeviceInfo, DeviceQueue } from '../../device/device.ts'
import type { PacketQueue } from './queue.ts'

export class DeferredDevice implements DeviceQueue {
  readonly isBoundary = true
  readonly info: DeviceInfo
  readonly descriptor: number | undefined
  readonly #device: DeviceQueue
  readonly #queue: PacketQueue

  /** @param queue whose packets go to `device.transmit` */
  constructor(device: DeviceQueue, queue: PacketQueue) {
    this.info = device.info
    this.descriptor = device.descriptor
    this.#device = device
    this.#queue = queue
  }

  receive(budget: number, deliver: Deliver): number {
    return this.#device.receive(budget, deliver)
  }

  transmit(packet: Address): boolean {
    return this.#queue.defer(packet)
  }

  flush(): void {
    this.#device.flush()
  }

  pending(): boolean {
    return this.#device.pending()
  }

  close(): void {
    this.#device.close()
  }
}
