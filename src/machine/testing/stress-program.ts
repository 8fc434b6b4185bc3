// All of the kernel's verbs at random, on every CPU at once: what test/stress.test.ts runs in the simulation and on
// real threads. It allocates nothing that it does not free, and when it is over nothing is armed, queued or asleep.
import { Errno } from '../../base/errno.ts'
import { type Address, u32 } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { define } from '../../kernel/function.ts'
import { lockClass } from '../../kernel/lock.ts'
import { EASYNC, MessageFlag, message } from '../../kernel/message.ts'
import { Mutex } from '../../kernel/mutex.ts'
import { FREE_PORT, type Port, type PortId } from '../../kernel/port.ts'
import { Rwlock } from '../../kernel/rwlock.ts'
import { program, type Thread } from '../../kernel/thread.ts'
import { Token } from '../../kernel/token.ts'

export interface StressData {
  /** Verbs that each CPU does. */
  readonly rounds: number
  /** Do the expensive ones (moves and cpusync) less often: they stop all CPUs. */
  readonly rare: number
}

/** Words of the region "stress". */
export const WORD = {
  finished: 0,
  phase: 1,
  synchronized: 2,
  live: 3,
  receipts: 4,
  inside: 5,
  flushed: 6,
  mutex: 8,
  spin: 9,
  rwlock: 10,
  token: 11,
} as const
export const STRESS_BYTES = 256
const CHANNEL = 4242
const CLASS = lockClass('stress')

const Work = message('stress.work', { hops: u32 })
const { PRIORITY, DROPABLE } = MessageFlag

const word = (cpu: Cpu, index: number): number => (cpu.memory.layout.region('stress').address >> 2) + index

const RECEIVED = define('stress.receipt', (cpu) => {
  Atomics.add(cpu.memory.i32, word(cpu, WORD.receipts), 1)
})
const NOTHING = define('stress.nothing', () => {})
const FREE = define('stress.free', (cpu, a, b, c) => {
  for (const address of [a, b, c]) if (address !== 0) cpu.slab.free(address)
})
const ABORT = define('stress.abort', (cpu) => {
  // To whichever CPU it was sent: the oldest that is kept there is cancelled.
  const target = cpu.random.below(cpu.cpus)
  cpu.ports.send(cpu.ports.lookup(`cancel ${target}`), cpu.ports.allocate(Work, FREE_PORT))
})

program('stress.traveller', function* (thread, hops) {
  thread.takeSignal()
  yield* thread.wait({ catchSignals: true, timeoutUs: 200 })
  if (hops > 0) return yield* thread.migrate(thread.cpu.random.below(thread.cpu.cpus), hops - 1)
})

/** One CPU's part. */
class Stress {
  readonly #cpu: Cpu
  readonly #kept: Address[] = []
  readonly #parked: Port
  readonly #data: StressData

  constructor(cpu: Cpu, data: StressData) {
    this.#cpu = cpu
    this.#data = data
    const { ports, index } = cpu
    const work = Work.cursor(cpu.memory)
    ports.create({ name: `work ${index}`, handler: () => 0 })
    ports.create({ name: `call ${index}`, dispatch: 'deferred', handler: () => index })
    ports.create({
      name: `chain ${index}`,
      dispatch: 'deferred',
      handler: (letter) => {
        work.at = letter
        if (work.hops-- === 0) return 0
        ports.forward(this.#port('chain'), letter)
        return EASYNC
      },
    })
    ports.create({
      name: `slow ${index}`,
      dispatch: 'deferred',
      handler: (letter) => {
        this.#kept.push(letter)
        cpu.timers.after(100 + cpu.random.below(300), () => this.#finishKept(0))
        return EASYNC
      },
    })
    ports.create({
      name: `cancel ${index}`,
      handler: () => {
        this.#finishKept(Errno.ECANCELED)
        return 0
      },
    })
    this.#parked = ports.create({ name: `park ${index}` })
  }

  /** A port of some CPU. */
  #port(kind: string): PortId {
    return this.#cpu.ports.lookup(`${kind} ${this.#cpu.random.below(this.#cpu.cpus)}`)
  }

  #finishKept(error: number): void {
    const letter = this.#kept.shift()
    if (letter !== undefined) this.#cpu.ports.reply(letter, error)
  }

  #letter(hops = 0): Address {
    const letter = this.#cpu.ports.allocate(Work, FREE_PORT)
    const cursor = Work.cursor(this.#cpu.memory)
    cursor.at = letter
    cursor.hops = hops
    return letter
  }

  *run(thread: Thread): Generator<void, void, void> {
    const words = thread.cpu.memory.i32
    for (let i = 0; i < this.#data.rounds; i++) {
      yield* this.#verb(thread)
      if (thread.cpu.random.chance(0.3)) yield* thread.pause()
      if (i % 16 === 0) this.#sweep()
    }
    Atomics.add(words, word(thread.cpu, WORD.finished), 1)
    // When all is quiet, and the test says so.
    while (Atomics.load(words, word(thread.cpu, WORD.phase)) === 0) {
      this.#sweep()
      yield* thread.delay(500)
    }
    this.#sweep()
    // What others freed for this CPU is on its way back when they have all run what this CPU sent, and then flushed.
    yield* thread.synchronize()
    yield* this.#barrier(thread, WORD.synchronized)
    thread.cpu.slab.flush()
    yield* this.#barrier(thread, WORD.flushed)
  }

  *#barrier(thread: Thread, index: number): Generator<void, void, void> {
    const { cpu } = thread
    Atomics.add(cpu.memory.i32, word(cpu, index), 1)
    while (Atomics.load(cpu.memory.i32, word(cpu, index)) < cpu.cpus) yield* thread.pause()
  }

  /** What was left at the parking port: some of it is dropped as if it had never been sent, and the rest answered. */
  #sweep(): void {
    const { ports, slab, random } = this.#cpu
    const port = this.#parked
    for (const letter of ports.queued(port.id)) {
      if (!random.chance(0.5)) continue
      ports.drop(port, letter)
      slab.free(letter)
    }
    for (let letter = ports.get(port); letter !== 0; letter = ports.get(port)) ports.reply(letter)
  }

  *#verb(thread: Thread): Generator<void, void, void> {
    const { cpu } = thread
    const { ports, random, ipi, slab, memory } = cpu
    const words = memory.i32
    const target = random.below(cpu.cpus)
    const letter = () => this.#letter(random.below(5))
    switch (random.below(18)) {
      case 0:
        for (let i = random.below(40); i > 0; i--) ports.send(this.#port('work'), letter())
        return
      case 1: {
        const request = letter()
        yield* thread.call(this.#port('call'), request)
        slab.free(request)
        return
      }
      case 2:
        for (let i = 0; i < 5; i++) ports.send(this.#port('chain'), letter())
        return
      case 3: {
        const urgent = letter()
        ports.setFlags(urgent, PRIORITY)
        ports.send(this.#port('chain'), urgent)
        return
      }
      case 4: {
        const request = letter()
        ports.setReceipt(request, RECEIVED)
        ports.send(this.#port('work'), request)
        return
      }
      case 5: {
        const request = letter()
        ports.setAbort(request, ABORT)
        const cancel = cpu.timers.after(random.below(500), () => ports.abort(request))
        yield* thread.call(this.#port('slow'), request)
        cancel()
        slab.free(request)
        return
      }
      case 6: {
        const parked = letter()
        ports.setFlags(parked, DROPABLE)
        ports.send(this.#port('park'), parked)
        return
      }
      case 7:
        yield* thread.sleep(CHANNEL + random.below(8), { timeoutUs: random.below(400), catchSignals: true })
        return
      case 8:
        cpu.sleepQueue.wakeup(CHANNEL + random.below(8), random.chance(0.5))
        return
      case 9:
        if (random.below(this.#data.rare) === 0) cpu.threads.startOn(target, 'stress.traveller', 1 + random.below(2))
        else cpu.signals.send(cpu.threads.startOn(target, 'stress.traveller', 0), random.below(32))
        return
      case 10: {
        const cancel = cpu.timers.after(random.below(2000), () => {})
        if (random.chance(0.5)) cancel()
        return
      }
      case 11: {
        const mutex = new Mutex(word(cpu, WORD.mutex) * 4, CLASS)
        yield* mutex.lock(thread)
        if (Atomics.add(words, word(cpu, WORD.inside), 1) !== 0) throw new Error('two threads are inside of one mutex')
        yield* thread.pause()
        Atomics.sub(words, word(cpu, WORD.inside), 1)
        mutex.leave(cpu)
        return
      }
      case 12: {
        const mutex = new Mutex(word(cpu, WORD.spin) * 4, CLASS)
        mutex.enter(cpu)
        mutex.leave(cpu)
        const lock = new Rwlock(word(cpu, WORD.rwlock) * 4, CLASS)
        lock.enterRead(cpu)
        lock.leaveRead(cpu)
        lock.enterWrite(cpu)
        lock.leaveWrite(cpu)
        return
      }
      case 13: {
        const token = new Token(word(cpu, WORD.token) * 4, CLASS)
        yield* token.acquire(thread)
        yield* thread.pause()
        token.release(thread)
        return
      }
      case 14:
        if (random.below(this.#data.rare) === 0) yield* cpu.cpusync.run(thread, NOTHING)
        return
      case 15:
        for (let i = 0; i < 10; i++) {
          const [a, b, c] = [slab.allocate(64), slab.allocate(1 + random.below(3000)), slab.allocate(1)]
          if (random.chance(0.5)) ipi.send(target, FREE, a, b, c)
          else ipi.sendPassive(target, FREE, a, b, c)
        }
        return
      case 16: {
        const bits = random.next()
        ipi.sendMask((other) => ((bits >>> (other & 31)) & 1) !== 0, NOTHING)
        return
      }
      default:
        yield* thread.synchronize()
    }
  }
}

export default function* stress(thread: Thread, data: unknown): Generator<void, void, void> {
  const { cpu } = thread
  const mine = new Stress(cpu, data as StressData)
  // The ports of all others are there when this one is.
  yield* thread.until(() => ready(cpu))
  yield* mine.run(thread)
  cpu.slab.collect()
  Atomics.add(cpu.memory.i32, word(cpu, WORD.live), cpu.slab.live)
}

function ready(cpu: Cpu): boolean {
  for (let i = 0; i < cpu.cpus; i++) if (cpu.ports.find(`park ${i}`) === undefined) return false
  return true
}
