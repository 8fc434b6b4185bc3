// What all locks have in common: classes, their profile in the columns of FreeBSD's LOCK_PROFILING(9), and the wait.
import { counterSet, readCounters } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { MachineStopping } from './ipi.ts'
import type { Memory } from './memory.ts'

/** Times are µs. */
export const LockCounters = counterSet('lock', [
  'max',
  'waitMax',
  'total',
  'waitTotal',
  'count',
  'countHold',
  'countLock',
] as const)
export const L = LockCounters.index

const classes: string[] = []

/** Declares a class of locks, all profiled together. At module level. Returns its number. */
export function lockClass(name: string): number {
  const known = classes.indexOf(name)
  return known >= 0 ? known : classes.push(name) - 1
}

/** Acquired without waiting. */
export function profileTaken(cpu: Cpu, lockClass: number): void {
  cpu.lockCounts(lockClass)[L.count]!++
}

/** Acquired after `us` of waiting: the lock was found held. */
export function profileWaited(cpu: Cpu, lockClass: number, us: number): void {
  const count = cpu.lockCounts(lockClass)
  count[L.count]!++
  count[L.countLock]!++
  count[L.waitTotal]! += us
  if (us > count[L.waitMax]!) count[L.waitMax] = us
}

/** Released after `us`; `wanted` says that somebody waited for it meanwhile. */
export function profileReleased(cpu: Cpu, lockClass: number, us: number, wanted: boolean): void {
  const count = cpu.lockCounts(lockClass)
  count[L.total]! += us
  if (us > count[L.max]!) count[L.max] = us
  if (wanted) count[L.countHold]!++
}

/** One turn of a busy wait: a CPU that waits for a lock still serves IPIs, for the lock's holder may wait for that. */
export function spin(cpu: Cpu): void {
  // The holder may have stopped with it.
  if (cpu.stopping()) throw new MachineStopping()
  if (cpu.ipi.serve() === 0) cpu.host.relax(cpu)
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

export function readLocks(memory: Memory): LockReading[] {
  const readings = readCounters(memory).filter((reading) => reading.set === LockCounters.name)
  return classes.flatMap((name, index) => {
    const mine = readings.filter((reading) => reading.instance === index).map((reading) => reading.values)
    const sum = (key: string) => mine.reduce((n, values) => n + values[key]!, 0)
    const max = (key: string) => mine.reduce((n, values) => Math.max(n, values[key]!), 0)
    const count = sum('count')
    if (count === 0) return []
    return [
      {
        name,
        maxUs: max('max'),
        waitMaxUs: max('waitMax'),
        totalUs: sum('total'),
        waitTotalUs: sum('waitTotal'),
        count,
        averageUs: sum('total') / count,
        waitAverageUs: sum('waitTotal') / count,
        countHold: sum('countHold'),
        countLock: sum('countLock'),
      },
    ]
  })
}
