// Where each connection of a load has its home: the one queue that sends for it and keeps its record. That is the queue of
// the CPU that owns its flow, or, for the share `wrong`, the one behind it, so that what is sent has to be handed over.
// Every queue computes all homes, by itself and alike.
import { Errno, KernelError } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import type { Memory } from '../../kernel/memory.ts'
import type { Steer } from '../device.ts'
import { Mbuf, Mbufs } from '../mbuf.ts'
import { IP_BYTES } from './header.ts'
import { clientOf, firstPortOf } from './number.ts'
import type { LoadPlan } from './options.ts'
import type { Template } from './template.ts'

export class Homes {
  /** By connection: the number of its queue, and of its owner's; the hash of its first port's flow. */
  readonly home: Uint16Array
  readonly owner: Uint16Array
  readonly hash: Int32Array
  readonly #memory: Memory
  readonly #steer: Steer | undefined
  readonly #queues: number

  /** @throws KernelError ENOMEM */
  constructor(cpu: Cpu, plan: LoadPlan, template: Template, steer: Steer | undefined) {
    const { connections, cpus, wrong } = plan
    this.home = new Uint16Array(connections)
    this.owner = new Uint16Array(connections)
    this.hash = new Int32Array(connections)
    this.#memory = cpu.memory
    this.#steer = steer
    this.#queues = cpus.length
    const packet = Mbufs.of(cpu).copyIn(template.address, template.length)
    if (packet === 0) throw new KernelError(Errno.ENOMEM, 'a load finds no mbuf: boot with more memoryBytes', 'open')
    const header = cpu.memory.u32[(packet + Mbuf.offset.data) >> 2]!
    /** How many connections each queue's CPU owns so far: every so manieth goes wrong. */
    const owned = new Int32Array(cpus.length)
    for (let number = 0; number < connections; number++) {
      cpu.memory.view.setInt32(header + 12, clientOf(plan, number))
      cpu.memory.view.setUint16(header + IP_BYTES, firstPortOf(number))
      const hash = this.hashOf(packet)
      const owner = steer === undefined ? number % cpus.length : this.ownerOf(hash)
      const count = owned[owner]!++
      const isWrong = Math.floor((count + 1) * wrong) > Math.floor(count * wrong)
      this.hash[number] = hash
      this.owner[number] = owner
      this.home[number] = isWrong ? (owner + 1) % cpus.length : owner
    }
    Mbufs.of(cpu).free(packet)
  }

  get isSteered(): boolean {
    return this.#steer !== undefined
  }

  /** The flow hash of a packet, or 0 where nobody computes any. */
  hashOf(packet: Address): number {
    return this.#steer === undefined ? 0 : this.#steer(this.#memory, packet)
  }

  /** The queue whose CPU owns what has this hash: the host's rule. */
  ownerOf(hash: number): number {
    return (hash >>> 0) % this.#queues
  }
}
