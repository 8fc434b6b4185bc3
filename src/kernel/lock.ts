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
import type { Address } from '../base/struct.ts'
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

/** The name of a class, by its number in this thread. */
export function lockClassName(lockClass: number): string {
  return classes[lockClass]!
}

/** The name of a site, by its number in this thread. */
export function lockSiteName(site: number): string {
  return sites[site]!
}

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
 * The profile of one handle to a lock. It knows where this CPU's counts of its class are, for each site, and of which site
 * its holder is; no clock is read unless the CPU measures times. Places are numbers, because a handle that is taken at
 * several sites in turn would pay for each reference that it has to remember.
 */
export class LockProfile {
  readonly #class: number
  readonly #lock: Address
  #cpu: Cpu | undefined = undefined
  #f64: Float64Array = NOWHERE
  /** Where the counts begin, among the doubles of the machine's memory, by site; 0 where they are not known yet. */
  #places: number[] = []
  /** Of the last site. */
  #site = 0
  #at = 0
  #since = 0

  constructor(lock: Address, lockClass: number) {
    this.#lock = lock
    this.#class = lockClass
  }

  /** Acquired at once; `shared`: by one of several readers. */
  taken(cpu: Cpu, site: number, shared = false): void {
    this.#f64At(cpu, site)[this.#at + COUNT]!++
    if (cpu.profileLocks) this.#timed(cpu, shared)
  }

  /** The lock was found held. Answers when that was, for `waited`. */
  contested(cpu: Cpu): number {
    return cpu.profileLocks ? cpu.clock.now() : 0
  }

  /** Acquired, after it was found held at `began`. */
  waited(cpu: Cpu, site: number, began: number, shared = false): void {
    const f64 = this.#f64At(cpu, site)
    if (cpu.profileLocks) cpu.host.locks?.entered(cpu, this.#lock, this.#class, site, shared)
    const now = cpu.profileLocks ? cpu.clock.now() : 0
    f64[this.#at + COUNT]!++
    this.#countWait(now - began)
    this.#since = now
  }

  /** Released; `wanted` says that somebody waited for it meanwhile. */
  released(cpu: Cpu, wanted: boolean, shared = false): void {
    if (!wanted && !cpu.profileLocks) return
    // One that others took since by the same handle (readers, in tests) is counted where it belongs all the same.
    const f64 = cpu === this.#cpu ? this.#f64 : this.#f64At(cpu, this.#site)
    const at = this.#at
    if (cpu.profileLocks) {
      cpu.host.locks?.left(cpu, this.#lock, this.#class, this.#site, shared)
      const us = cpu.clock.now() - this.#since
      f64[at + TOTAL]! += us
      if (us > f64[at + MAX]!) f64[at + MAX] = us
    }
    if (wanted) f64[at + COUNT_HOLD]!++
  }

  /** Held again by the same holder, after a wait for which it was released: an acquisition is counted once. */
  resumed(cpu: Cpu): void {
    if (cpu.profileLocks) this.#timed(cpu, false)
  }

  /** A host that keeps the time of locks itself may have had the CPU wait. */
  #timed(cpu: Cpu, shared: boolean): void {
    const us = cpu.host.locks?.entered(cpu, this.#lock, this.#class, this.#site, shared) ?? 0
    if (us > 0) this.#countWait(us)
    this.#since = cpu.clock.now()
  }

  #countWait(us: number): void {
    const f64 = this.#f64
    const at = this.#at
    f64[at + COUNT_LOCK]!++
    f64[at + WAIT_TOTAL]! += us
    if (us > f64[at + WAIT_MAX]!) f64[at + WAIT_MAX] = us
  }

  /** From now on `#at` is where the counts of this CPU and site begin. */
  #f64At(cpu: Cpu, site: number): Float64Array {
    if (cpu !== this.#cpu) {
      this.#cpu = cpu
      this.#f64 = cpu.memory.f64
      this.#places = placesBySite(cpu, this.#class)
    }
    this.#site = site
    this.#at = this.#places[site]! || placeOf(cpu, this.#class, site)
    return this.#f64
  }
}

const NOWHERE = new Float64Array(0)

/** One turn of a busy wait: a CPU that waits for a lock still serves IPIs, for the lock's holder may wait for that. */
export function spin(cpu: Cpu): void {
  // The holder may have stopped with it.
  if (cpu.stopping()) throw new MachineStopping()
  if (cpu.ipi.serve() === 0) cpu.host.relax(cpu)
}

/** A CPU's places of counts, by class and site. */
const PLACES = Symbol('lock counts')

function placesBySite(cpu: Cpu, lockClass: number): number[] {
  const byClass = cpu.slot<number[][]>(PLACES, () => [])
  byClass[lockClass] ??= sites.map(() => 0)
  return byClass[lockClass]
}

/** Where this CPU's counts of (class, site) begin, among doubles: those of the class alone where all numbers are taken. */
function placeOf(cpu: Cpu, lockClass: number, site: number): number {
  const places = placesBySite(cpu, lockClass)
  places[site] ||= open(cpu, lockClass, site)
  return places[site]
}

function open(cpu: Cpu, lockClass: number, site: number): number {
  const text = `${classes[lockClass]!}@${sites[site]!}`
  const number = numberOf(cpu.names, text, site === 0 ? Limits.lockClasses : Limits.lockClasses - RESERVED)
  if (number >= 0) return cpu.counterPage.open(LockCounters, number).byteOffset >> 3
  assert(site !== 0, 'there are at most 64 lock classes')
  return placeOf(cpu, lockClass, 0)
}

/** The number of (class, site) on this machine, found or taken; -1 when all below `end` are others'. */
function numberOf(names: Names, text: string, end: number): number {
  const hash = hashName(text) | 0
  for (let number = 0; number < end; number++) {
    const name = `lock/${number}`
    let owner = names.find(name)
    if (owner === 0 && claim(names, name, hash)) {
      names.add(`${name}=${text}`, 1)
      return number
    }
    // Somebody may have been quicker.
    if (owner === 0) owner = names.find(name)
    if (owner === hash) return number
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
