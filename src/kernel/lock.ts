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
/** There are fewer sites than this: what a lock keeps in mind of one is a byte. */
export const LOCK_SITES = 256
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
  const site = declare(sites, name)
  assert(site < LOCK_SITES, 'there are at most 255 lock sites')
  return site
}

function declare(list: string[], name: string): number {
  assert(/^[\w .-]+$/.test(name), 'a lock class or site is named by letters, digits, spaces, dots and dashes')
  const known = list.indexOf(name)
  return known >= 0 ? known : list.push(name) - 1
}

/**
 * The profile of the locks that a CPU takes. It is the CPU's, and not each lock's: what is written for an acquisition then lies in
 * the CPU's cache already, whichever of many locks it is. An object for each lock made the exchanges of `connp-l` 4 % slower
 * (bench/instrumentation.ts). Therefore a lock has to keep in mind itself at which site it was taken. No clock is read unless the CPU measures times.
 */
export class LockProfile {
  readonly #cpu: Cpu
  /** Acquisitions since the last fold, by class and site: small whole numbers. */
  readonly #count: (number[] | undefined)[] = []
  /** Where the counts begin, among the doubles of the machine's memory, by class and site; 0 where they are not known yet. */
  readonly #places: number[][] = []
  /** When locks that are held were taken, where times are measured. */
  readonly #since = new Map<Address, number>()

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    cpu.counterPage.addFold(() => this.#fold())
  }

  /** Acquired at once; `shared`: by one of several readers. */
  taken(lock: Address, lockClass: number, site: number, shared = false): void {
    const count = this.#count[lockClass] ?? this.#open(lockClass)
    count[site]!++
    if (this.#cpu.profileLocks) this.#timed(lock, lockClass, site, shared)
  }

  /** The lock was found held. Answers when that was, for `waited`. */
  contested(): number {
    return this.#cpu.profileLocks ? this.#cpu.clock.now() : 0
  }

  /** Acquired, after it was found held at `began`. */
  waited(lock: Address, lockClass: number, site: number, began: number, shared = false): void {
    const { profileLocks, host, clock } = this.#cpu
    const count = this.#count[lockClass] ?? this.#open(lockClass)
    count[site]!++
    if (profileLocks) host.locks?.entered(this.#cpu, lock, lockClass, site, shared)
    const now = profileLocks ? clock.now() : 0
    this.#countWait(lockClass, site, now - began)
    if (profileLocks) this.#since.set(lock, now)
  }

  /** Released; `wanted` says that somebody waited for it meanwhile. */
  released(lock: Address, lockClass: number, site: number, wanted: boolean, shared = false): void {
    if (wanted || this.#cpu.profileLocks) this.#countHold(lock, lockClass, site, wanted, shared)
  }

  /** Held again by the same holder, after a wait for which it was released: an acquisition is counted once. */
  resumed(lock: Address, lockClass: number, site: number): void {
    if (this.#cpu.profileLocks) this.#timed(lock, lockClass, site, false)
  }

  #fold(): void {
    const { f64 } = this.#cpu.memory
    for (let lockClass = 0; lockClass < this.#count.length; lockClass++) {
      const count = this.#count[lockClass]
      if (count === undefined) continue
      for (let site = 0; site < sites.length; site++) {
        const taken = count[site]!
        if (taken === 0) continue
        f64[this.#placeOf(lockClass, site) + COUNT]! += taken
        count[site] = 0
      }
    }
  }

  /** A host that keeps the time of locks itself may have had the CPU wait. */
  #timed(lock: Address, lockClass: number, site: number, shared: boolean): void {
    const us = this.#cpu.host.locks?.entered(this.#cpu, lock, lockClass, site, shared) ?? 0
    if (us > 0) this.#countWait(lockClass, site, us)
    this.#since.set(lock, this.#cpu.clock.now())
  }

  #countHold(lock: Address, lockClass: number, site: number, wanted: boolean, shared: boolean): void {
    const { memory, profileLocks, host, clock } = this.#cpu
    const { f64 } = memory
    const at = this.#placeOf(lockClass, site)
    if (wanted) f64[at + COUNT_HOLD]!++
    if (!profileLocks) return
    host.locks?.left(this.#cpu, lock, lockClass, site, shared)
    const us = clock.now() - this.#since.get(lock)!
    f64[at + TOTAL]! += us
    if (us > f64[at + MAX]!) f64[at + MAX] = us
  }

  #countWait(lockClass: number, site: number, us: number): void {
    const { f64 } = this.#cpu.memory
    const at = this.#placeOf(lockClass, site)
    f64[at + COUNT_LOCK]!++
    f64[at + WAIT_TOTAL]! += us
    if (us > f64[at + WAIT_MAX]!) f64[at + WAIT_MAX] = us
  }

  /** A lock of this class is taken for the first time. */
  #open(lockClass: number): number[] {
    while (this.#count.length <= lockClass) {
      this.#count.push(undefined)
      this.#places.push(new Array<number>(LOCK_SITES).fill(0))
    }
    this.#count[lockClass] = new Array<number>(LOCK_SITES).fill(0)
    return this.#count[lockClass]
  }

  /** Where this CPU's counts of (class, site) begin, among doubles: those of the class alone where all numbers are taken. */
  #placeOf(lockClass: number, site: number): number {
    const places = this.#places[lockClass]!
    places[site] ||= this.#publish(lockClass, site)
    return places[site]
  }

  #publish(lockClass: number, site: number): number {
    const { names, counterPage } = this.#cpu
    const text = `${classes[lockClass]!}@${sites[site]!}`
    const number = numberOf(names, text, site === 0 ? Limits.lockClasses : Limits.lockClasses - RESERVED)
    if (number >= 0) return counterPage.open(LockCounters, number).byteOffset >> 3
    assert(site !== 0, 'there are at most 64 lock classes')
    return this.#placeOf(lockClass, 0)
  }
}

/** One turn of a busy wait: a CPU that waits for a lock still serves IPIs, for the lock's holder may wait for that. */
export function spin(cpu: Cpu): void {
  // The holder may have stopped with it.
  if (cpu.stopping()) throw new MachineStopping()
  if (cpu.ipi.serve() === 0) cpu.host.relax(cpu)
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
  const readings = readCounters(memory, LockCounters)
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
