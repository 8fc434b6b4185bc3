// Signals to threads: a number from 0 to 31, sent from anywhere, pending until the thread takes it. A signal ends
// the thread's interruptible waits; a wait for a message's reply asks for the message's abort, once, and then
// waits for its completion all the same (lwkt_waitmsg).
import { assert } from '../base/assert.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import type { Thread, ThreadId } from './thread.ts'

export class Signals {
  readonly #cpu: Cpu
  /** Signals for threads that are on their way here: what another CPU sent was faster than the thread. */
  readonly #early = new Map<ThreadId, number>()

  constructor(cpu: Cpu) {
    this.#cpu = cpu
  }

  /** Sends signal `number` to a thread on any CPU. A thread that is gone is not signalled. */
  send(thread: ThreadId, number: number): void {
    assert(Number.isInteger(number) && number >= 0 && number < 32, 'a signal is a number from 0 to 31')
    const home = this.#cpu.threads.home(thread)
    if (home < 0) return
    this.#cpu.ipi.send(home, SIGNAL, thread, number)
  }

  /** A signal arrived for a thread that was last here. */
  deliver(id: ThreadId, number: number): void {
    const thread = this.#cpu.threads.local(id)
    if (thread === undefined) {
      // It has moved since: the signal runs after it. A thread that ended has no home.
      const home = this.#cpu.threads.home(id)
      if (home === this.#cpu.index) this.#early.set(id, (this.#early.get(id) ?? 0) | (1 << number))
      else if (home >= 0) this.#cpu.ipi.send(home, SIGNAL, id, number)
      return
    }
    this.#cpu.count[K.signals]!++
    thread.pending |= 1 << number
    if (isPending(thread)) this.#cpu.threads.interrupt(thread)
  }

  /** The signals that came here before their thread did. */
  takeEarly(id: ThreadId): number {
    const bits = this.#early.get(id) ?? 0
    this.#early.delete(id)
    return bits
  }
}

/** Whether a signal is pending that the thread does not mask. */
export function isPending(thread: Thread): boolean {
  return (thread.pending & ~thread.mask) !== 0
}

const SIGNAL = define('signal.deliver', (cpu, id, number) => cpu.signals.deliver(id, number))
