// Microbenchmarks of what the cost model needs of this machine, each measured for itself: locks, cache lines, wake-ups and messages between
// two CPUs on threads, and what a CPU does alone, here. Every figure is a summary of many short parts, because a part in which the
// operating system has taken a processor away is a thousand times as long: the median is what counts.
import { monotonicClock } from '../../base/clock.ts'
import { Cpu } from '../../kernel/cpu.ts'
import { spin } from '../../kernel/lock.ts'
import { Memory } from '../../kernel/memory.ts'
import { boot, lockClass, Mutex, NULL_PORT, Plain, Random } from '../../kernel.ts'
import { relaxation } from '../../machine/worker.ts'
import { mapSummary, type Summary, summarize } from '../statistics.ts'
import { Arena, PASSES, type PrimitiveData, RECORD_LINES } from './primitive-program.ts'

const PARTS = 200
const LOCK = lockClass('calibration')
/** Calls after which V8 has compiled what is measured, and for how long at least: it does so in the background. */
const WARM = 20_000
const WARM_MS = 100
const BATCH = 16

/** ns of a lock that this CPU had last: taken and left. */
export function measureLock(rounds: number): Summary {
  const cpu = alone(2)
  const mutex = new Mutex(cpu.slab.allocate(64), LOCK)
  cpu.memory.i32[mutex.address >> 2] = 0
  return repeat(rounds, () => {
    mutex.enter(cpu)
    mutex.leave(cpu)
  })
}

/** ns of a reading of the clock, which is in every measured hold of a lock. */
export function measureClock(rounds: number): Summary {
  const clock = monotonicClock({ monotonicUs: 0, wallUs: 0 })
  return repeat(rounds, () => clock.now())
}

/** ns of a look at a lock that somebody else has. */
export function measureSpinLook(rounds: number): Summary {
  const cpu = alone(2)
  const word = cpu.slab.allocate(64) >> 2
  return repeat(rounds, () => {
    Atomics.load(cpu.memory.i32, word)
    spin(cpu)
  })
}

/** ns of looking, in a turn, whether one more CPU has sent something. */
export function measureRingLook(rounds: number): Summary {
  const few = alone(2)
  const many = alone(66)
  const summaries = [few, many].map((cpu) => repeat(rounds, () => cpu.turn()))
  const per = (of: (summary: Summary) => number) => Math.max(0, (of(summaries[1]!) - of(summaries[0]!)) / 64)
  return summarize([per((each) => each.lowerQuartile), per((each) => each.median), per((each) => each.upperQuartile)])
}

/** ns of the moment for which a CPU sleeps that has looked at a lock many times. */
export function measureSpinSleep(): Summary {
  const relax = relaxation()
  const values = Array.from({ length: 30 }, () => {
    const began = performance.now()
    let longest = 0
    for (let looks = 0; looks < SPIN_LOOKS; looks++) {
      const before = performance.now()
      relax()
      longest = Math.max(longest, performance.now() - before)
    }
    return Math.min(longest, performance.now() - began) * 1e6
  })
  return summarize(values)
}

/** Looks at a lock until the CPU sleeps for a moment: as worker.ts has it. */
export const SPIN_LOOKS = 512

export interface Passing {
  /** ns from one CPU's write of a line to another one's, which has waited for it. */
  readonly line: Summary
  /** What it takes longer with a mutex and a line that it protects, and with each of RECORD_LINES further lines. */
  readonly lock: Summary
  readonly nextLine: Summary
}

export async function measurePassing(rounds: number): Promise<Passing> {
  const values = await onTwo({ kind: 'pass', parts: PARTS, rounds }, PARTS * PASSES.length)
  const parts = Array.from({ length: PARTS }, (_, i) => values.slice(i * PASSES.length, (i + 1) * PASSES.length))
    // The first ones run before the code is compiled.
    .slice(PARTS / 4)
  const more = (place: number, each: number) =>
    summarize(parts.map((part) => Math.max(0, part[place]! - part[0]!) / each))
  return { line: summarize(parts.map(([line]) => line!)), lock: more(1, 1), nextLine: more(2, RECORD_LINES) }
}

/** ns that waking a CPU takes who wakes it, and ns until it runs. */
export async function measureWakeup(parts: number): Promise<{ doorbell: Summary; wakeup: Summary }> {
  const values = await onTwo({ kind: 'wakeup', parts, rounds: 1 }, 2 * parts)
  const every = (first: number) => summarize(values.filter((_, i) => i % 2 === first && i >= parts / 2))
  return { doorbell: every(0), wakeup: every(1) }
}

/** ns that a message to a port of the same CPU takes longer where the port has others, and it must wait, than where it is a call. */
export function measureQueued(rounds: number): Summary {
  const cpu = alone(2)
  const handler = () => 0
  const direct = cpu.ports.create({ name: 'calibration direct', handler })
  const queued = cpu.ports.create({ name: 'calibration queued', handler, dispatch: 'deferred' })
  const messages = Array.from({ length: BATCH }, () => cpu.ports.allocate(Plain, NULL_PORT))
  const [called, waited] = [direct, queued].map((port) =>
    repeat(rounds, () => {
      for (const message of messages) cpu.ports.send(port.id, message)
      cpu.ports.serve()
    }),
  )
  return mapSummary(waited!, (ns) => Math.max(0, ns - called!.median) / BATCH)
}

/**
 * ns of an entry of a ring with its messages, for each side, where both are on this thread and no line has to come from elsewhere;
 * without what its messages' waiting in the port's queue takes, which is `queued`.
 */
export function measureEntry(rounds: number, queued: number): Summary {
  const [source, target] = pair()
  const port = target.ports.create({ name: 'calibration', handler: () => 0 })
  const messages = Array.from({ length: BATCH }, () => source.ports.allocate(Plain, NULL_PORT))
  const both = repeat(rounds, () => {
    for (const message of messages) source.ports.send(port.id, message)
    source.ipi.flush()
    target.ipi.drain()
    target.ports.serve()
  })
  return mapSummary(both, (ns) => (Math.max(0, ns - BATCH * queued) * MESSAGES_OF_ENTRY) / (2 * BATCH))
}
/** Messages to one port in an entry (kernel/ipi.ts). */
const MESSAGES_OF_ENTRY = 4

async function onTwo(data: PrimitiveData, results: number): Promise<number[]> {
  const machine = await boot({
    cpus: 2,
    signals: false,
    program: new URL('./primitive-program.js', import.meta.url),
    data,
    regions: { primitive: Arena.results + 8 * results },
    spinTurns: 0,
  })
  try {
    const { i32, f64, layout } = machine.memory
    const arena = layout.region('primitive').address
    while (Atomics.load(i32, (arena + Arena.finished) >> 2) === 0) {
      await Promise.race([machine.done, new Promise((resolve) => setTimeout(resolve, 5))])
    }
    const first = (arena + Arena.results) >> 3
    return [...f64.slice(first, first + results)]
  } finally {
    await machine.stop()
  }
}

/** A CPU on this thread, of a machine of so many. */
function alone(cpus: number): Cpu {
  return onThisThread(Memory.create({ cpus }, true), 0)
}

function pair(): [Cpu, Cpu] {
  const memory = Memory.create({ cpus: 2 }, true)
  return [onThisThread(memory, 0), onThisThread(memory, 1)]
}

function onThisThread(memory: Memory, index: number): Cpu {
  const host = { ring: () => {}, relax: () => {} }
  return new Cpu(index, memory, host, monotonicClock({ monotonicUs: 0, wallUs: 0 }), new Random(1))
}

/** ns of each call, over parts of `rounds`. */
function repeat(rounds: number, run: () => void): Summary {
  const compiled = performance.now() + WARM_MS
  for (let i = 0; i < WARM || performance.now() < compiled; i++) run()
  const values = Array.from({ length: PARTS }, () => {
    const began = performance.now()
    for (let i = 0; i < rounds; i++) run()
    return ((performance.now() - began) * 1e6) / rounds
  })
  return summarize(values)
}
