// The time of a CPU in a simulation with costs (costed.ts): it goes on by what the CPU has counted, at the prices of the table.
import type { Clock } from '../base/clock.ts'
import { counterPlaces, openSets } from '../kernel/counters.ts'
import type { Memory } from '../kernel/memory.ts'
import type { CostTable } from './cost.ts'

const US = 1e-3

/** The time of one CPU, µs. Who asks for it gets one in which all is paid that was done so far. */
export class CpuTime implements Clock {
  us = 0
  pay: () => number = () => 0

  now(): number {
    this.us += this.pay()
    return this.us
  }
}

/** What is counted on one CPU, and what that has cost it. */
export class Account {
  readonly #memory: Memory
  readonly #cpu: number
  readonly #costs: CostTable
  #sets = 0
  /** Places of the counters, what they cost in µs, and what they were when they were paid last. */
  #places: number[] = []
  #us: number[] = []
  readonly #paid = new Map<number, number>()

  constructor(memory: Memory, cpu: number, costs: CostTable) {
    this.#memory = memory
    this.#cpu = cpu
    this.#costs = costs
  }

  /** What has been counted since the last call, in µs. */
  due(): number {
    this.#memory.fold()
    let us = 0
    for (let i = 0; i < this.#places.length; i++) {
      const place = this.#places[i]!
      const count = this.#memory.f64[place]!
      const paid = this.#paid.get(place)!
      if (count === paid) continue
      us += (count - paid) * this.#us[i]!
      this.#paid.set(place, count)
    }
    return us
  }

  /** Sets of counters may have come. */
  look(): void {
    const sets = openSets(this.#memory, this.#cpu, this.#sets)
    if (sets === this.#sets) return
    this.#sets = sets
    this.#places = []
    this.#us = []
    for (const { set, counter, ns } of this.#all()) {
      for (const place of counterPlaces(this.#memory, this.#cpu, set, counter)) {
        this.#places.push(place)
        this.#us.push(ns * US)
        if (!this.#paid.has(place)) this.#paid.set(place, 0)
      }
    }
  }

  #all(): CostTable['counted'] {
    const { counted, entrySent, entryReceived, doorbell } = this.#costs
    return [
      ...counted,
      { set: 'cpu', counter: 'ipisSent', ns: entrySent },
      { set: 'cpu', counter: 'ipisReceived', ns: entryReceived },
      { set: 'cpu', counter: 'doorbellsRung', ns: doorbell },
    ]
  }
}
