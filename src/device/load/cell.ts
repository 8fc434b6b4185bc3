// Answers that leave by another queue than their connection's home, and how the home gets to know of them. Each queue has
// a cell for each connection, and writes into it what the host's last packet there said. A cell that is in no list is put,
// with the flush, into that of the home, which takes all of the list at once:
//
//     queue 1: cells with news, a chain of its own ──flush: compare-and-swap──► answers of queue 0 ──exchange──► queue 0
//
// No lock, and no bound that could be exceeded: a cell is in one list once, however much comes. What a cell says is
// cumulative (acknowledged so far, end of the stream so far, segments so far), so nothing is missed when only the last of
// several packets is seen, and it is of no account in which order the cells of two queues are looked at: the home takes the
// greatest. It marks the cell as free before it reads, and the writer looks for that mark after it has written: a cell that
// changes while it is read is put in again.
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { ringDoorbell } from '../../kernel/ipi.ts'
import { CpuBlock } from '../../kernel/layout.ts'
import { LoadQueueCounters } from './counters.ts'
import type { LoadPlan } from './options.ts'
import { Cell, type LoadRegion, QueueBlock } from './region.ts'

/** What the home queue learns; `flags` and `window` are those of the last packet. */
export type TakeAnswer = (
  number: number,
  flags: number,
  acknowledged: number,
  end: number,
  window: number,
  segments: number,
  seenAt: number,
) => void

const C = LoadQueueCounters.index
const NEXT = Cell.offset.next >> 2
const ACKNOWLEDGED = Cell.offset.acknowledged >> 2
const END = Cell.offset.end >> 2
const FLAGS = Cell.offset.flags >> 2
const WINDOW = Cell.offset.window >> 2
const SEGMENTS = Cell.offset.segments >> 2
const SEEN_AT = Cell.offset.seenAt >> 2
const TAKEN = Cell.offset.taken >> 2
/** Of `next`. */
const FREE = 0
const LAST = -1

/** One queue's end of it: for the queue alone. */
export class Answers {
  readonly #cpu: Cpu
  readonly #i32: Int32Array
  readonly #region: LoadRegion
  readonly #connections: number
  readonly #queue: number
  readonly #cpus: readonly number[]
  /** Where the list of each queue begins, as a word. */
  readonly #heads: Int32Array
  /** The chain that is to go to each queue with the flush: as `next`, LAST where there is none; and its last cell. */
  readonly #first: Int32Array
  readonly #last: Int32Array
  /** Queues that are to get something: the first `#toldCount`, each once. */
  readonly #told: Int32Array
  #toldCount = 0
  readonly #count: Float64Array

  /** `count`: of the queue (LoadQueueCounters). */
  constructor(cpu: Cpu, plan: LoadPlan, region: LoadRegion, queue: number, count: Float64Array) {
    const queues = plan.cpus.length
    this.#cpu = cpu
    this.#i32 = cpu.memory.i32
    this.#region = region
    this.#connections = plan.connections
    this.#queue = queue
    this.#count = count
    this.#cpus = plan.cpus
    this.#heads = Int32Array.from(plan.cpus, (_, i) => (region.queue(i) + QueueBlock.offset.answers) >> 2)
    this.#first = new Int32Array(queues).fill(LAST)
    this.#last = new Int32Array(queues)
    this.#told = new Int32Array(queues)
  }

  /** Notes what a packet of this queue said, for the home of its connection. `segments` are those that it brought. */
  post(
    number: number,
    home: number,
    flags: number,
    acknowledged: number,
    end: number,
    window: number,
    segments: number,
    tick: number,
  ): void {
    const words = this.#i32
    const cell = this.#queue * this.#connections + number
    const w = this.#word(cell)
    Atomics.store(words, w + ACKNOWLEDGED, acknowledged)
    Atomics.store(words, w + END, end)
    Atomics.store(words, w + FLAGS, flags)
    Atomics.store(words, w + WINDOW, window)
    Atomics.store(words, w + SEGMENTS, (words[w + SEGMENTS]! + segments) | 0)
    Atomics.store(words, w + SEEN_AT, tick)
    // In a list already, and not yet read: it is read with what was just written.
    if (Atomics.compareExchange(words, w + NEXT, FREE, this.#first[home]!) !== FREE) return
    if (this.#first[home] === LAST) {
      this.#last[home] = cell
      this.#told[this.#toldCount++] = home
    }
    this.#first[home] = 1 + cell
  }

  /** Gives the homes what was noted. `tick`: now, when the packets leave. */
  flush(tick: number): void {
    for (let i = 0; i < this.#toldCount; i++) this.#give(this.#told[i]!, tick)
    this.#toldCount = 0
  }

  /** Whether others have put something in. */
  get pending(): boolean {
    return Atomics.load(this.#i32, this.#heads[this.#queue]!) !== 0
  }

  /** Takes all that others have put in for this queue. Returns how many cells. */
  take(deliver: TakeAnswer): number {
    const words = this.#i32
    const head = this.#heads[this.#queue]!
    if (Atomics.load(words, head) === 0) return 0
    let next = Atomics.exchange(words, head, 0)
    let count = 0
    while (next !== LAST) {
      const cell = next - 1
      const w = this.#word(cell)
      next = Atomics.load(words, w + NEXT)
      // From here on it may be put in again.
      Atomics.exchange(words, w + NEXT, FREE)
      const segments = Atomics.load(words, w + SEGMENTS)
      const fresh = (segments - words[w + TAKEN]!) | 0
      words[w + TAKEN] = segments
      deliver(
        cell % this.#connections,
        Atomics.load(words, w + FLAGS),
        Atomics.load(words, w + ACKNOWLEDGED),
        Atomics.load(words, w + END),
        Atomics.load(words, w + WINDOW),
        fresh,
        Atomics.load(words, w + SEEN_AT),
      )
      count++
    }
    return count
  }

  #give(home: number, tick: number): void {
    const words = this.#i32
    const first = this.#first[home]!
    const last = this.#word(this.#last[home]!) + NEXT
    for (let at = first; at !== LAST; ) {
      const w = this.#word(at - 1)
      Atomics.store(words, w + SEEN_AT, tick)
      at = Atomics.load(words, w + NEXT)
    }
    const head = this.#heads[home]!
    let before: number
    do {
      before = Atomics.load(words, head)
      Atomics.store(words, last, before === 0 ? LAST : before)
    } while (Atomics.compareExchange(words, head, before, first) !== before)
    this.#first[home] = LAST
    const target = this.#cpus[home]!
    const state = this.#cpu.memory.layout.cpuBlock(target) + CpuBlock.offset.state
    this.#count[ringDoorbell(this.#cpu, target, state >> 2) ? C.doorbellsRung : C.doorbellsAvoided]!++
  }

  #word(cell: number): number {
    const address: Address = this.#region.cell(cell)
    return address >> 2
  }
}
