// Clock distribution (DragonFly's kern_systimer.c): CPU 0 keeps the machine's periodic clock, and passes each tick on by a
// passive IPI to the CPUs that asked for it. A CPU that sleeps is not woken for it: it gets its ticks when it wakes.
// The clock stands still as long as nobody asks.
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { CpuState } from './cpustate.ts'
import { define } from './function.ts'
import { CpuBlock } from './layout.ts'

/** Ten ticks a second. */
export const TICK_US = 100_000
/** Ticks without a turn of its run loop, and without being asleep, after which a CPU counts as stuck: one second. */
const STUCK_TICKS = 10

export class Hardclock {
  readonly #cpu: Cpu
  readonly #subscribers: (() => void)[] = []
  /** On CPU 0: who gets the ticks. */
  readonly #cpus = new Set<number>()
  #running = false
  /** On CPU 0: each CPU's count of turns at its last progress, and how many ticks ago that was. */
  readonly #progress: { turns: number; ticks: number }[] = []
  #busyUs = 0
  #at = 0

  constructor(cpu: Cpu) {
    this.#cpu = cpu
  }

  /** Has `run` called at each tick on this CPU. */
  subscribe(run: () => void): void {
    this.#subscribers.push(run)
    this.#cpu.ipi.send(0, SUBSCRIBE, this.#cpu.index)
  }

  /** Subscribes this CPU's load: the share of its time that it was busy in the last tick, in the counter `loadPercent`. */
  measureLoad(): void {
    this.#at = this.#cpu.now
    this.subscribe(() => {
      const { count, now } = this.#cpu
      const busy = count[K.busyUs]!
      if (now > this.#at)
        count[K.loadPercent] = Math.min(100, Math.round(((busy - this.#busyUs) / (now - this.#at)) * 100))
      this.#busyUs = busy
      this.#at = now
    })
  }

  /** On CPU 0: `cpu` wants the ticks. */
  add(cpu: number): void {
    this.#cpus.add(cpu)
    if (!this.#running) this.#arm()
    this.#running = true
  }

  /** A tick came. */
  tick(): void {
    this.#cpu.count[K.clockTicks]!++
    for (const run of this.#subscribers) run()
  }

  #arm(): void {
    this.#cpu.timers.after(TICK_US, () => {
      this.#arm()
      this.#watch()
      for (const cpu of this.#cpus) this.#cpu.ipi.sendPassive(cpu, TICK)
    })
  }

  /** Looks for CPUs that neither sleep nor get on. */
  #watch(): void {
    const { memory, count } = this.#cpu
    let stuck = 0
    for (let cpu = 0; cpu < memory.layout.cpus; cpu++) {
      const block = memory.layout.cpuBlock(cpu)
      const turns = memory.f64[(block + CpuBlock.offset.turns) >> 3]!
      const running = Atomics.load(memory.i32, (block + CpuBlock.offset.state) >> 2) === CpuState.running
      this.#progress[cpu] ??= { turns, ticks: 0 }
      const progress = this.#progress[cpu]
      progress.ticks = running && progress.turns === turns ? progress.ticks + 1 : 0
      progress.turns = turns
      if (progress.ticks >= STUCK_TICKS) stuck++
    }
    count[K.cpusStuck] = stuck
  }
}

const SUBSCRIBE = define('hardclock.subscribe', (cpu, subscriber) => cpu.hardclock.add(subscriber))
const TICK = define('hardclock.tick', (cpu) => cpu.hardclock.tick())
