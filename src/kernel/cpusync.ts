// cpusync: every CPU at a known point, outside of any handler and thread, serving nothing but IPIs.
//
//   hold      asks all others to stop at the top of their run loop, and waits until all have said that they do
//   release   runs a registered function on every CPU, and lets them go on; waits until all have run it
//
// One at a time on a machine. A CPU says that it is held through the same ring as everything it sent before: when the
// last has said so, nothing that was sent before the hold is under way to this CPU.
import { assert } from '../base/assert.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define, type FunctionId, functionOf } from './function.ts'
import { MachineHeader } from './layout.ts'
import type { Thread } from './thread.ts'

export class Cpusync {
  readonly #cpu: Cpu
  readonly #owner: number
  /** Who waits for this CPU to stop at the top of its run loop, or -1. */
  #requestedBy = -1
  #held = false
  #acknowledged = 0
  #thread: Thread | undefined = undefined

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#owner = (cpu.memory.layout.header + MachineHeader.offset.syncOwner) >> 2
  }

  /** This CPU may do nothing but serve IPIs now. */
  get held(): boolean {
    return this.#held
  }

  /** Runs `id` on every CPU while all are held: the whole of it. */
  *run(thread: Thread, id: FunctionId, a = 0, b = 0): Generator<void, void, void> {
    yield* this.hold(thread)
    yield* this.release(id, a, b)
  }

  /** Holds all other CPUs. The caller goes on alone until `release`. */
  *hold(thread: Thread): Generator<void, void, void> {
    const { memory, index, ipi } = this.#cpu
    yield* thread.until(() => Atomics.compareExchange(memory.i32, this.#owner, 0, index + 1) === 0)
    this.#cpu.count[K.cpusyncs]!++
    this.#thread = thread
    yield* this.#all(() => ipi.sendMask((cpu) => cpu !== index, INTERLOCK, index))
  }

  /** Runs `id` here and on every held CPU, if there is an `id`, and lets them go. */
  *release(id: FunctionId = 0, a = 0, b = 0): Generator<void, void, void> {
    const { memory, index, ipi } = this.#cpu
    assert(Atomics.load(memory.i32, this.#owner) === index + 1, 'release is for the CPU that holds the others')
    if (id !== 0) functionOf(id)(this.#cpu, a, b, 0, index)
    yield* this.#all(() => ipi.sendMask((cpu) => cpu !== index, DEINTERLOCK, id, a, b))
    this.#thread = undefined
    Atomics.store(memory.i32, this.#owner, 0)
  }

  /** Another CPU asks this one to stop at the top of its run loop. */
  request(source: number): void {
    assert(this.#requestedBy < 0 && !this.#held, 'one cpusync runs at a time')
    this.#requestedBy = source
  }

  /** At the top of the run loop: says that this CPU stands still. What it staged goes first, by the same ring. */
  atTop(): void {
    if (this.#requestedBy < 0) return
    const source = this.#requestedBy
    this.#requestedBy = -1
    this.#held = true
    this.#cpu.ipi.send(source, ACKNOWLEDGE)
    this.#cpu.ipi.flush()
  }

  /** The end of the hold. */
  letGo(id: FunctionId, a: number, b: number, source: number): void {
    assert(this.#held, 'only a held CPU is let go')
    if (id !== 0) functionOf(id)(this.#cpu, a, b, 0, source)
    this.#held = false
    this.#cpu.ipi.send(source, ACKNOWLEDGE)
  }

  acknowledge(): void {
    this.#acknowledged++
    if (this.#thread !== undefined) this.#cpu.threads.wake(this.#thread)
  }

  /** Sends to all others, and waits until all have acknowledged. */
  *#all(send: () => void): Generator<void, void, void> {
    const others = this.#cpu.memory.layout.cpus - 1
    this.#acknowledged = 0
    send()
    this.#cpu.ipi.flush()
    yield* this.#thread!.until(() => this.#acknowledged === others)
  }
}

const INTERLOCK = define('cpusync.interlock', (cpu, source) => cpu.cpusync.request(source))
const DEINTERLOCK = define('cpusync.deinterlock', (cpu, id, a, b, source) => cpu.cpusync.letGo(id, a, b, source))
const ACKNOWLEDGE = define('cpusync.acknowledge', (cpu) => cpu.cpusync.acknowledge())
