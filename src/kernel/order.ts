// The order checker: proves, while it is on, that what one CPU sends to one port arrives in the order sent.
// Priority messages overtake others by design, and are checked among themselves.
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { MessageFlag, MessageHeader } from './message.ts'

const M = MessageHeader.offset

export class OrderChecker {
  readonly #cpu: Cpu
  readonly #sent = new Map<number, number>()
  readonly #received = new Map<number, number>()

  constructor(cpu: Cpu) {
    this.#cpu = cpu
  }

  /** This CPU puts a message on a port: numbers it. */
  sent(port: number, message: Address): void {
    const key = port * 2 + this.#lane(message)
    const sequence = (this.#sent.get(key) ?? 0) + 1
    this.#sent.set(key, sequence)
    this.#cpu.memory.u32[(message + M.sequence) >> 2] = sequence
  }

  /** A message is taken at a port of this CPU. @throws AssertionFailure when an earlier one of the same sender comes after it */
  received(port: number, message: Address): void {
    const from = this.#cpu.memory.u16[(message + M.from) >> 1]!
    const key = (port * 2 + this.#lane(message)) * 256 + from
    const sequence = this.#cpu.memory.u32[(message + M.sequence) >> 2]!
    const before = this.#received.get(key) ?? 0
    if (sequence <= before) this.#cpu.count[K.orderViolations]!++
    assert(sequence > before, 'two messages of one CPU to one port were taken in the wrong order')
    this.#received.set(key, sequence)
  }

  #lane(message: Address): number {
    return (this.#cpu.memory.i32[message >> 2]! & MessageFlag.PRIORITY) === 0 ? 0 : 1
  }
}
