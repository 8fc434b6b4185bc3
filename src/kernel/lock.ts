// What all locks have in common: classes and call sites, their profile in the columns of FreeBSD's LOCK_PROFILING(9), and
// the wait.
//
// A lock is of a class, and taken at a site: (class, site) has counters of its own on each CPU. Which of a CPU's counter
// sets they are is the number of a place, one for each (class, site) that is in use and the same on all CPUs; the
// machine's directory of names says which. What was imported in which order therefore does not matter, and a reader
// needs to have loaded nothing:
//
//   lock/3                     the hash of the text below: whoever publishes it first has the place
//   lock/3=giant@tcp input     for readers
import { assert } from '../base/assert.ts'
import { KernelError } from '../base/errno.ts'
import { hashName } from '../base/hash.ts'
import { Limits } from '../base/limits.ts'
import { counterSet, readCounters } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { MachineStopping } from './ipi.ts'
import type { Memory } from './memory.ts'
import { Names } from './name.ts'

/** Times are µs, and 0 unless the CPU measures them (`profileLocks`). */
export const LockCounters = counterSet('lock', [
  'max',
  'waitMax',
  'total',
  'waitTotal',
  'count',
  'countHold',
  'countLock',
] as const)
const L = LockCounters.index
// Constants of this module, because the compiler folds those (see port.ts).
const MAX = L.max
const WAIT_MAX = L.waitMax
const TOTAL = L.total
const WAIT_TOTAL = L.waitTotal
const COUNT = L.count
const COUNT_HOLD = L.countHold
const COUNT_LOCK = L.countLock

/** Together with "lock/63=" and "@" they fit a name of the directory. */
const CLASS_LENGTH = 20
const SITE_LENGTH = 22
/** Places that sites leave to classes as such: a site that finds no other is counted for its class alone. */
const RESERVED = 16

const classes: string[] = []
const sites: string[] = ['']

/** Declares a class of locks, all profiled together. At module level. Returns its number in this thread. */
export function lockClass(name: string): number {
  assert(name.length > 0 && name.length <= CLASS_LENGTH, 'the name of a lock class has 1 to 20 letters')
  return declare(classes, name)
}

/**
 * Declares a place in the code where locks are taken, for `enter(cpu, site)`. At module level. Returns its number in this
 * thread; 0 is no place in particular.
 */
export function lockSite(name: string): number {
  assert(name.length > 0 && name.length <= SITE_LENGTH, 'the name of a lock site has 1 to 22 letters')
  return declare(sites, name)
}

function declare(list: string[], name: string): number {
  assert(/^[\w .-]+$/.test(name), 'a lock class or site is named by letters, digits, spaces, dots and dashes')
  const known = list.indexOf(name)
  return known >= 0 ? known : list.push(name) - 1
}

/**
 * The profile of one handle to a lock. It remembers where the counts of its last site are, and thereby what its holder
 * will be counted for when it leaves; no clock is read unless the CPU measures times.
 */
export class LockProfile {
  readonly #class: number
  #cpu: Cpu | undefined = undefined
  #site = 0
  #count: Float64Array = NOWHERE
  /** This CPU's counts of the class, by site. */
  #counts: (Float64Array | undefined)[] = []
  #since = 0

  constructor(lockClass: number) {
    this.#class = lockClass
  }

  /** Acquired at once. */
  taken(cpu: Cpu, site: number): void {
    if (cpu !== this.#cpu || site !== this.#site) this.#open(cpu, site)
    this.#count[COUNT]!++
    if (cpu.profileLocks) this.#since = cpu.clock.now()
  }

  /** The lock was found held. Answers when that was, for `waited`. */
  contested(cpu: Cpu): number {
    return cpu.profileLocks ? cpu.clock.now() : 0
  }

  /** Acquired, after it was found held at `began`. */
  waited(cpu: Cpu, site: number, began: number): void {
    if (cpu !== this.#cpu || site !== this.#site) this.#open(cpu, site)
    const now = cpu.profileLocks ? cpu.clock.now() : 0
    countWait(this.#count, now - began)
    this.#since = now
  }

  /** Released; `wanted` says that somebody waited for it meanwhile. */
  released(cpu: Cpu, wanted: boolean): void {
    // One that others took since by the same handle (readers, in tests) is counted where it belongs all the same.
    if (cpu !== this.#cpu) this.#open(cpu, this.#site)
    if (cpu.profileLocks) countHold(this.#count, cpu.clock.now() - this.#since)
    if (wanted) this.#count[COUNT_HOLD]!++
  }

  /** Held again by the same holder, after a wait for which it was released: an acquisition is counted once. */
  resumed(cpu: Cpu): void {
    if (cpu.profileLocks) this.#since = cpu.clock.now()
  }

  #open(cpu: Cpu, site: number): void {
    if (cpu !== this.#cpu) this.#counts = countsBySite(cpu, this.#class)
    this.#count = this.#counts[site] ?? countsOf(cpu, this.#class, site)
    this.#cpu = cpu
    this.#site = site
  }
}

const NOWHERE = new Float64Array(LockCounters.counters.length)

function countWait(count: Float64Array, us: number): void {
  count[COUNT]!++
  count[COUNT_LOCK]!++
  count[WAIT_TOTAL]! += us
  if (us > count[WAIT_MAX]!) count[WAIT_MAX] = us
}

function countHold(count: Float64Array, us: number): void {
  count[TOTAL]! += us
  if (us > count[MAX]!) count[MAX] = us
}

/** One turn of a busy wait: a CPU that waits for a lock still serves IPIs, for the lock's holder may wait for that. */
export function spin(cpu: Cpu): void {
  // The holder may have stopped with it.
  if (cpu.stopping()) throw new MachineStopping()
  if (cpu.ipi.serve() === 0) cpu.host.relax(cpu)
}

/** A CPU's counts, by class and site. */
const COUNTS = Symbol('lock counts')

function countsBySite(cpu: Cpu, lockClass: number): (Float64Array | undefined)[] {
  const byClass = cpu.slot<(Float64Array | undefined)[][]>(COUNTS, () => [])
  byClass[lockClass] ??= []
  return byClass[lockClass]
}

function countsOf(cpu: Cpu, lockClass: number, site: number): Float64Array {
  const bySite = countsBySite(cpu, lockClass)
  bySite[site] ??= open(cpu, lockClass, site)
  return bySite[site]
}

function open(cpu: Cpu, lockClass: number, site: number): Float64Array {
  const text = `${classes[lockClass]!}@${sites[site]!}`
  const place = placeOf(cpu.names, text, site === 0 ? Limits.lockClasses : Limits.lockClasses - RESERVED)
  if (place >= 0) return cpu.lockCounts(place)
  assert(site !== 0, 'there are at most 64 lock classes')
  return countsOf(cpu, lockClass, 0)
}

/** The place of (class, site) on this machine, found or taken; -1 when all below `end` are others'. */
function placeOf(names: Names, text: string, end: number): number {
  const hash = hashName(text) | 0
  for (let place = 0; place < end; place++) {
    const name = `lock/${place}`
    let owner = names.find(name)
    if (owner === 0 && claim(names, name, hash)) {
      names.add(`${name}=${text}`, 1)
      return place
    }
    // Somebody may have been quicker.
    if (owner === 0) owner = names.find(name)
    if (owner === hash) return place
  }
  return -1
}

/** Publishes a name that nobody has yet. Returns whether nobody had it. */
function claim(names: Names, name: string, value: number): boolean {
  try {
    names.add(name, value)
    return true
  } catch (error) {
    if (error instanceof KernelError && error.code === 'EEXIST') return false
    throw error
  }
}

/** A class's line in the profile, summed over the CPUs. */
export interface LockReading {
  readonly name: string
  readonly maxUs: number
  readonly waitMaxUs: number
  readonly totalUs: number
  readonly waitTotalUs: number
  readonly count: number
  readonly averageUs: number
  readonly waitAverageUs: number
  readonly countHold: number
  readonly countLock: number
}

/** The line of a class's locks as far as they were taken at one site; the site '' is wherever none was named. */
export interface LockSiteReading extends LockReading {
  readonly site: string
}

/** A line for each class of locks that was taken, over all sites. */
export function readLocks(memory: Memory): LockReading[] {
  const byClass = new Map<string, LockSiteReading[]>()
  for (const reading of readLockSites(memory)) {
    const mine = byClass.get(reading.name)
    if (mine === undefined) byClass.set(reading.name, [reading])
    else mine.push(reading)
  }
  return [...byClass].map(([name, readings]) => sumOf(name, readings))
}

/** A line for each class of locks and site where any was taken. */
export function readLockSites(memory: Memory): LockSiteReading[] {
  const readings = readCounters(memory).filter((reading) => reading.set === LockCounters.name)
  return places(memory).flatMap(({ place, name, site }) => {
    const mine = readings.filter(({ instance }) => instance === place).map(({ values }) => lineOf(name, values))
    const sum = sumOf(name, mine)
    return sum.count === 0 ? [] : [{ ...sum, site }]
  })
}

function places(memory: Memory): { place: number; name: string; site: string }[] {
  return new Names(memory)
    .list()
    .flatMap((entry) => {
      const [, place, name, site] = /^lock\/(\d+)=([^@]*)@(.*)$/.exec(entry.name) ?? []
      return place === undefined ? [] : [{ place: Number(place), name: name!, site: site! }]
    })
    .sort((a, b) => a.place - b.place)
}

/** What is summed up of a line. */
type Line = Omit<LockReading, 'averageUs' | 'waitAverageUs'>

function lineOf(name: string, values: { readonly [counter: string]: number }): Line {
  return {
    name,
    maxUs: values.max!,
    waitMaxUs: values.waitMax!,
    totalUs: values.total!,
    waitTotalUs: values.waitTotal!,
    count: values.count!,
    countHold: values.countHold!,
    countLock: values.countLock!,
  }
}

function sumOf(name: string, lines: readonly Line[]): LockReading {
  const sum = (of: (line: Line) => number) => lines.reduce((n, line) => n + of(line), 0)
  const max = (of: (line: Line) => number) => lines.reduce((n, line) => Math.max(n, of(line)), 0)
  const count = sum((line) => line.count)
  const totalUs = sum((line) => line.totalUs)
  const waitTotalUs = sum((line) => line.waitTotalUs)
  return {
    name,
    maxUs: max((line) => line.maxUs),
    waitMaxUs: max((line) => line.waitMaxUs),
    totalUs,
    waitTotalUs,
    count,
    averageUs: count === 0 ? 0 : totalUs / count,
    waitAverageUs: count === 0 ? 0 : waitTotalUs / count,
    countHold: sum((line) => line.countHold),
    countLock: sum((line) => line.countLock),
  }
}
