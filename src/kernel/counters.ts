// Counters: pages of doubles, one page for each CPU, written only by their CPU and readable live by anyone.
// A set of counters is declared once, by names; each CPU gives it a place in its page when it first uses it, and
// writes the set's name there, so that a reader needs no agreement with the writers.
//
//   count[C.droppedTtl]++    in the page, at once
//   tally.received++         in a field of an object, and in the page at the end of the turn
//
// What is counted for every packet is counted the second way: a double of the page costs eleven instructions, a field five
// (bench/instrumentation.ts). It makes a count up to a turn old for other threads, and for those of the CPU's own not at all.
import { assert } from '../base/assert.ts'
import { hashName } from '../base/hash.ts'
import { Limits } from '../base/limits.ts'
import type { Memory } from './memory.ts'

/** A declared set: `set.index.name` is the place of a counter in the array that `CounterPage.open(set)` gives. */
export interface CounterSet<N extends string> {
  readonly name: string
  readonly counters: readonly N[]
  readonly index: { readonly [K in N]: number }
}

const declared = new Map<number, CounterSet<string>>()

/** Declares a set of counters. Once for each name; at module level, because it is code and not state. */
export function counterSet<const N extends string>(name: string, counters: readonly N[]): CounterSet<N> {
  const index = Object.fromEntries(counters.map((counter, i) => [counter, i])) as { [K in N]: number }
  const set = { name, counters, index }
  assert(!declared.has(hashName(name)), 'each counter set has a name of its own')
  declared.set(hashName(name), set)
  return set
}

/** Some counters of a set as fields: small whole numbers, which a fold adds to the page. Nobody decides by them: they begin anew then. */
export type Tally<N extends string> = { [K in N]: number }

/** The tally of a kind: `TallyOf<typeof TcpTally>`. */
export type TallyOf<K> = K extends TallyKind<infer N> ? Tally<N> : never

/** A declared tally: `TcpTally.names` are those of the counters of `set` that it has. */
export interface TallyKind<N extends string> {
  readonly set: CounterSet<string>
  readonly names: readonly N[]
  create(counts: Float64Array): { readonly tally: Tally<N>; readonly fold: () => void }
}

/** Declares which counters of a set are tallied. At module level. */
export function tallyOf<N extends string, const T extends N>(set: CounterSet<N>, names: readonly T[]): TallyKind<T> {
  assert(
    names.every((name) => /^[a-zA-Z]+$/.test(name) && name in set.index),
    'a set has what is tallied of it',
  )
  // As code of its own, each kind has its fields at known places; the set's name keeps equal texts apart (base/struct.ts).
  const source = `// ${set.name}
    const tally = { ${names.map((name) => `${name}: 0`).join(', ')} }
    const fold = () => {
      ${names.map((name) => `if (tally.${name} !== 0) { counts[${set.index[name]}] += tally.${name}; tally.${name} = 0 }`).join('\n')}
    }
    return { tally, fold }`
  const create = new Function('counts', source) as TallyKind<T>['create']
  return { set, names, create }
}

/** Each page begins with a directory of pairs {hash of the set's name, instance << 16 | place}, ended by a zero. */
const DIRECTORY_ENTRIES = 128
const FIRST_PLACE = DIRECTORY_ENTRIES

/** The counters of one CPU. */
export class CounterPage {
  readonly #memory: Memory
  readonly #page: number
  #next = FIRST_PLACE
  #entries = 0
  readonly #open = new Map<string, Float64Array>()
  /** Functions, and not objects with one each: which of ten kinds an object is would have to be looked up each time (140 → 45 ns a turn). */
  readonly #folds: (() => void)[] = []

  constructor(memory: Memory, cpu: number) {
    this.#memory = memory
    this.#page = memory.layout.counters + cpu * Limits.counterBytes
    memory.unfolded.push(this)
  }

  /**
   * This CPU's array of the set's counts; the same array each time. `instance` tells apart several of a kind on one CPU
   * (two hosts' stacks, two devices); it is a number from 0 to 65535.
   */
  open<N extends string>(set: CounterSet<N>, instance = 0): Float64Array {
    const key = `${set.name}:${instance}`
    const known = this.#open.get(key)
    if (known !== undefined) return known
    const count = set.counters.length
    assert(this.#entries < DIRECTORY_ENTRIES - 1, 'a counter page has room for 127 sets')
    assert((this.#next + count) * 8 <= Limits.counterBytes, 'the counter page is full: raise Limits.counterBytes')
    const { u32, f64 } = this.#memory
    const entry = (this.#page >> 2) + this.#entries++ * 2
    u32[entry + 1] = (instance << 16) | this.#next
    u32[entry] = hashName(set.name)
    const at = (this.#page >> 3) + this.#next
    this.#next += count
    const array = f64.subarray(at, at + count)
    this.#open.set(key, array)
    return array
  }

  /** A new tally of this CPU's counts: there may be several of the same. */
  tally<N extends string>(kind: TallyKind<N>, instance = 0): Tally<N> {
    const { tally, fold } = kind.create(this.open(kind.set, instance))
    this.addFold(fold)
    return tally
  }

  /** Has something called that writes down what is counted in another way. */
  addFold(fold: () => void): void {
    this.#folds.push(fold)
  }

  /** Adds to the page what was tallied since the last time. At the end of each turn, and before this thread reads. */
  fold(): void {
    for (let i = 0; i < this.#folds.length; i++) this.#folds[i]!()
  }
}

/** How many sets a CPU counts, all instances apart; it only grows. */
export function openSets(memory: Memory, cpu: number, from = 0): number {
  const page = memory.layout.counters + cpu * Limits.counterBytes
  let sets = from
  while (sets < DIRECTORY_ENTRIES && memory.u32[(page >> 2) + sets * 2] !== 0) sets++
  return sets
}

/** Where a counter of a CPU stands among the doubles of the memory: a place for each instance that its set has there now. */
export function counterPlaces(memory: Memory, cpu: number, set: string, counter: string): number[] {
  const hash = hashName(set)
  const known = declared.get(hash)
  assert(known?.counters.includes(counter) === true, 'a counter is asked for that was declared')
  const page = memory.layout.counters + cpu * Limits.counterBytes
  return Array.from({ length: openSets(memory, cpu) }, (_, i) => (page >> 2) + i * 2)
    .filter((entry) => memory.u32[entry] === hash)
    .map((entry) => (page >> 3) + (memory.u32[entry + 1]! & 0xffff) + known.index[counter]!)
}

/** One CPU's counts of one set, as read from outside. */
export interface CounterReading {
  readonly cpu: number
  readonly set: string
  readonly instance: number
  readonly values: { readonly [counter: string]: number }
}

/**
 * Reads all pages of a machine, live: each count is whole, but they are not all of one instant. Those that are tallied are at most
 * a turn old; of CPUs of this thread they are up to date. With `only`, of that set: the others' counts are not even looked at.
 */
export function readCounters(memory: Memory, only?: CounterSet<string>): CounterReading[] {
  const wanted = only === undefined ? undefined : hashName(only.name)
  memory.fold()
  const readings: CounterReading[] = []
  for (let cpu = 0; cpu < memory.layout.cpus; cpu++) {
    const page = memory.layout.counters + cpu * Limits.counterBytes
    for (let i = 0; i < DIRECTORY_ENTRIES; i++) {
      const hash = memory.u32[(page >> 2) + i * 2]!
      if (hash === 0) break
      if (wanted !== undefined && hash !== wanted) continue
      const set = declared.get(hash)
      if (set === undefined) continue
      const place = memory.u32[(page >> 2) + i * 2 + 1]!
      const at = (page >> 3) + (place & 0xffff)
      const values = Object.fromEntries(set.counters.map((name, k) => [name, memory.f64[at + k]!]))
      readings.push({ cpu, set: set.name, instance: place >>> 16, values })
    }
  }
  return readings
}

/** The sum over all CPUs and instances of one counter. */
export function total<N extends string>(memory: Memory, set: CounterSet<N>, counter: N): number {
  let sum = 0
  for (const { values } of readCounters(memory, set)) sum += values[counter]!
  return sum
}

/** What the kernel itself counts of a CPU. Times are µs. */
export const CpuCounters = counterSet('cpu', [
  'turns',
  'busyTurns',
  'busyUs',
  'idleUs',
  'sleepUs',
  'sleeps',
  'spuriousWakeups',
  'doorbellsRung',
  'doorbellsAvoided',
  'doorbellsReceived',
  'ipisSent',
  'ipisReceived',
  'ipisPassive',
  'ipiPublishes',
  'ipiRingFull',
  'ipiNested',
  'messagesSent',
  'messagesDirect',
  'messagesReceived',
  'messagesReplied',
  'messagesDropped',
  'messagesAborted',
  'messagesForwarded',
  'messagesUnqueued', // to put-only ports, to FREE_PORT and NULL_PORT, and to ports that were closed: done by the sender
  'messagesStray', // came by IPI for a port that was closed meanwhile
  'repliesQueued', // replies that were put at a port, and did not free or complete their message
  'threadsStarted',
  'threadsExited',
  'threadsMigrated',
  'contextSwitches',
  'threadSleeps',
  'wakeups',
  'wakeupIpis',
  'signals',
  'timersArmed', // all calls of arm: armed = rearmed + fired + cancelled + still armed
  'timersRearmed',
  'timersFired',
  'timersCancelled',
  'cpusyncs',
  'clockTicks',
  'loadPercent',
  'cpusStuck',
  'rollups',
  'orderViolations',
] as const)
export type CpuCounter = (typeof CpuCounters.counters)[number]
/** Indices into a CPU's `count` array: `cpu.count[K.turns]++`. */
export const K = CpuCounters.index
