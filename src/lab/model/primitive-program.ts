// What the two CPUs of a microbenchmark run (primitive.ts): they pass something to each other, again and again, and CPU 0 notes what
// each part of it took. A CPU does nothing else meanwhile: its turn lasts as long as the measurement.
import { ringDoorbell } from '../../kernel/ipi.ts'
import { type Cpu, define, lockClass, Mutex } from '../../kernel.ts'

/** The region "primitive": lines of words, and behind them the results as doubles. */
export const Arena = {
  /** Who has its turn: counts up. */
  turn: 0,
  mutex: 64,
  /** What the mutex protects. */
  protected: 128,
  /** CPU 1 has heard so many rings. */
  heard: 192,
  finished: 256,
  /** Lines that go over together. */
  record: 320,
  results: 320 + 64 * 10,
} as const
export const RECORD_LINES = 10

export interface PrimitiveData {
  readonly kind: 'pass' | 'wakeup'
  /** Parts that are measured, of so many rounds; of `wakeup` a part is one round. */
  readonly parts: number
  readonly rounds: number
}

const LOCK = lockClass('calibration')
/** From when a CPU has announced its sleep until it is asleep for certain, µs. */
const FALLING_ASLEEP_US = 50

const hear = define('calibration hear', (cpu: Cpu) => {
  Atomics.add(cpu.memory.i32, (arenaOf(cpu) + Arena.heard) >> 2, 1)
})

export default function program(cpu: Cpu, data: PrimitiveData): void {
  if (cpu.index > 1) return
  if (data.kind === 'wakeup' && cpu.index === 1) return
  cpu.threads.start('primitive', function* (this: void, thread) {
    // Both are there before anything is measured.
    yield* thread.pause()
    if (data.kind === 'wakeup') wake(cpu, data)
    else pass(cpu, data)
    if (cpu.index === 0) Atomics.store(cpu.memory.i32, (arenaOf(cpu) + Arena.finished) >> 2, 1)
  })
}

function arenaOf(cpu: Cpu): number {
  return cpu.memory.layout.region('primitive').address
}

/** What goes over with the turn, in each part one after the other: how far apart the two are may change from one second to the next. */
export const PASSES = ['line', 'lock', 'record'] as const

/**
 * The turn goes to and fro: alone; with a mutex, that each takes in its turn to write what it protects; and with some lines, of each of
 * which a word is written. Results, one for each of PASSES: ns of one turn.
 */
function pass(cpu: Cpu, { parts, rounds }: PrimitiveData): void {
  const { memory, clock } = cpu
  const words = memory.i32
  const arena = arenaOf(cpu)
  const turn = (arena + Arena.turn) >> 2
  const data = (arena + Arena.protected) >> 2
  const record = (arena + Arena.record) >> 2
  const mutex = new Mutex(arena + Arena.mutex, LOCK)
  let mine = cpu.index
  for (let place = 0; place < parts * PASSES.length; place++) {
    const kind = PASSES[place % PASSES.length]!
    const began = clock.now()
    for (let round = 0; round < rounds; round++) {
      while (Atomics.load(words, turn) !== mine) if (cpu.stopping()) return
      if (kind === 'lock') {
        mutex.enter(cpu)
        words[data]!++
        mutex.leave(cpu)
      } else if (kind === 'record') for (let line = 0; line < RECORD_LINES; line++) words[record + line * 16]!++
      Atomics.store(words, turn, mine + 1)
      mine += 2
    }
    note(cpu, place, ((clock.now() - began) * 1000) / rounds / 2)
  }
}

/** CPU 1 sleeps and is woken. Results, two for each: ns that ringing took, and ns from then until it had heard. */
function wake(cpu: Cpu, { parts }: PrimitiveData): void {
  const words = cpu.memory.i32
  const arena = arenaOf(cpu)
  const heard = (arena + Arena.heard) >> 2
  const { block, clock } = { block: cpu.memory.layout.cpuBlock(1), clock: cpu.clock }
  const state = block >> 2
  for (let part = 0; part < parts; part++) {
    while (Atomics.load(words, state) !== 1) if (cpu.stopping()) return
    const asleep = clock.now() + FALLING_ASLEEP_US
    while (clock.now() < asleep);
    cpu.ipi.sendPassive(1, hear)
    cpu.ipi.flush()
    const began = clock.now()
    ringDoorbell(cpu, 1, state)
    const rung = clock.now()
    while (Atomics.load(words, heard) !== part + 1) if (cpu.stopping()) return
    const woken = clock.now()
    note(cpu, part * 2, (rung - began) * 1000)
    note(cpu, part * 2 + 1, (woken - rung) * 1000)
  }
}

function note(cpu: Cpu, place: number, value: number): void {
  if (cpu.index === 0) cpu.memory.f64[((arenaOf(cpu) + Arena.results) >> 3) + place] = value
}
