// The order checker: proves, while it is on, that what one CPU sends to one port arrives in the order sent.
// Priority messages overtake others by design, and are checked among themselves.
import { AssertionFailure } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { MessageFlag, MessageHeader } from './message.ts'
import { chainText } from './trace/chain.ts'
import type { TraceId } from './trace/record.ts'

const M = MessageHeader.offset

export class OrderChecker {
  readonly #cpu: Cpu
  readonly #sent = new Map<number, number>()
  readonly #received = new Map<number, number>()
  /** Of what was taken last. */
  readonly #traces = new Map<number, TraceId>()

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
    if (sequence <= before) this.#violated(message, this.#traces.get(key) ?? 0)
    this.#received.set(key, sequence)
    if (this.#cpu.tracer.isSet) this.#traces.set(key, this.#cpu.tracer.of(message))
  }

  /** With how both came here, where that is traced: the one that is late, and the one that came before it. */
  #violated(late: Address, early: TraceId): void {
    const { tracer, clock, count } = this.#cpu
    count[K.orderViolations]!++
    const told = [
      ['the one that is late', tracer.whence(late)],
      ['the one that came before it', tracer.chainOf(early)],
    ] as const
    const stacks = told.flatMap(([name, chain]) =>
      chain.hops.length === 0 ? [] : [`\n${name}, ${chainText(chain, clock.now())}`],
    )
    throw new AssertionFailure(`two messages of one CPU to one port were taken in the wrong order${stacks.join('')}`)
  }

  #lane(message: Address): number {
    return (this.#cpu.memory.i32[message >> 2]! & MessageFlag.PRIORITY) === 0 ? 0 : 1
  }
}
