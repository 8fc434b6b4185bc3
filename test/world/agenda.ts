// What a CPU of a world has to do at certain times, for its programs: they take no memory of the machine's, which may be used up.
import type { Address } from '../../src/base/struct.ts'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { define } from '../../src/kernel/function.ts'
import { Timer } from '../../src/kernel/timer.ts'

interface Entry {
  readonly atUs: number
  readonly order: number
  readonly run: () => void
}

export class Agenda {
  readonly cpu: Cpu
  /** The first comes last. */
  readonly #entries: Entry[] = []
  readonly #timer: Address
  #order = 0

  constructor(cpu: Cpu) {
    this.cpu = cpu
    // The slab owns an object's first words while it is free: the record stands behind them.
    const room = cpu.slab.allocate(64)
    this.#timer = room + 8
    cpu.memory.u8.fill(0, this.#timer, this.#timer + Timer.size)
    cpu.addPollable({
      poll: () => this.#run(),
      flush: () => this.#arm(),
      pending: () => this.#due() <= cpu.now,
      close: () => {
        cpu.timers.cancel(this.#timer)
        cpu.slab.free(room)
      },
    })
  }

  /** Runs `run` in a turn of the CPU, in `delayUs`. From outside of its turns the CPU has to be woken. */
  after(delayUs: number, run: () => void): void {
    this.at(this.cpu.now + delayUs, run)
  }

  at(atUs: number, run: () => void): void {
    const entry = { atUs, order: this.#order++, run }
    let place = this.#entries.length
    while (place > 0 && isBefore(this.#entries[place - 1]!, entry)) place--
    this.#entries.splice(place, 0, entry)
  }

  #due(): number {
    return this.#entries.at(-1)?.atUs ?? Number.POSITIVE_INFINITY
  }

  #run(): number {
    let ran = 0
    // What these add for now waits for the next turn.
    for (const due = this.#order; this.#due() <= this.cpu.now && this.#entries.at(-1)!.order < due; ran++) {
      this.#entries.pop()!.run()
    }
    return ran
  }

  #arm(): void {
    const due = this.#due()
    const { timers } = this.cpu
    if (due === Number.POSITIVE_INFINITY || (timers.isArmed(this.#timer) && timers.deadline(this.#timer) <= due)) return
    timers.armAt(this.#timer, due, AWAKE)
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order)
}

/** That the CPU is awake is all that is wanted. */
const AWAKE = define('world.agenda', () => {})
