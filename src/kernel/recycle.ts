// Zone recycling, the machine's memory-map synchronization: a zone that is entirely free goes back to where any CPU may take
// it, for any size, but only when every CPU has let go of it: at a cpusync. Asked for by a CPU whose allocation failed.
import { KernelError } from '../base/errno.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import type { Thread } from './thread.ts'

/** Asked for again at most this often by one CPU. */
const PRESSURE_US = 10_000

/** Gives this CPU's entirely free zones to the machine. Returns how many. */
export function* recycle(thread: Thread): Generator<void, number, void> {
  const { slab, cpusync } = thread.cpu
  const zones = slab.detachFreeZones()
  if (zones.length === 0) return 0
  yield* cpusync.hold(thread)
  slab.returnZones(zones)
  yield* cpusync.release()
  return zones.length
}

/** One CPU's part in shortages of memory. */
export class Recycler {
  readonly #cpu: Cpu
  #askedAt = Number.NEGATIVE_INFINITY
  #recycling = false

  constructor(cpu: Cpu) {
    this.#cpu = cpu
  }

  /** An allocation failed: every CPU is asked for the zones that it does not need. What was asked for may be there later. */
  shortage(): void {
    const { now, ipi } = this.#cpu
    if (now - this.#askedAt < PRESSURE_US) return
    this.#askedAt = now
    ipi.sendMask(() => true, PRESSURE)
  }

  /** Some CPU has no memory left. */
  pressed(): void {
    if (this.#recycling) return
    this.#recycling = true
    try {
      this.#cpu.threads.start('zone recycler', (thread) => this.#run(thread))
    } catch (error) {
      // No port or number for a thread: there is nothing that this CPU can give now.
      if (!(error instanceof KernelError)) throw error
      this.#recycling = false
    }
  }

  *#run(thread: Thread): Generator<void, void, void> {
    yield* recycle(thread)
    this.#recycling = false
  }
}

const PRESSURE = define('recycle.pressure', (cpu) => cpu.recycler.pressed())
