// Words in the machine's memory by which the programs of a case on several CPUs know of each other, and by which whoever booted the machine
// knows how far they are. Written by programs and read by all; whoever waits for a word sleeps on his CPU's channel.
import type { Cpu } from '../../src/kernel/cpu.ts'
import type { Memory } from '../../src/kernel/memory.ts'
import { channel } from '../../src/kernel.ts'

export const BOARD = 'board'
const NOTES = 64
const CPUS = 16
const TEXT_BYTES = 4096
const WORDS = 8 + CPUS * 5 + NOTES * 2
export const BOARD_BYTES = WORDS * 4 + 4 + TEXT_BYTES

const STEP = 0
const FAILED = 1
const PASSED = 2
const OVER = 3
/** One word for each CPU: the barrier's, and what it holds. */
const AT = 8
const HELD = AT + CPUS
const SOCKETS = HELD + CPUS
const CONNECTIONS = SOCKETS + CPUS
const RETAINED = CONNECTIONS + CPUS
const NOTE = RETAINED + CPUS

/** What a CPU has at an instant. */
export interface Holding {
  /** TCP sockets of programs; connections and embryos of groups at home there. */
  readonly sockets: number
  readonly connections: number
  /** Records that outlive their connection by design: TIME-WAITs, neighbours, paths. */
  readonly retained: number
}

export class Board {
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  readonly #first: number

  constructor(memory: Memory) {
    const { address } = memory.layout.region(BOARD)
    this.#words = memory.i32
    this.#first = address >> 2
    this.#bytes = memory.u8.subarray(address + WORDS * 4 + 4, address + BOARD_BYTES)
  }

  /** The step of the table that all CPUs are at, or go to. */
  get step(): number {
    return this.#load(STEP)
  }

  set step(value: number) {
    this.#store(STEP, value)
  }

  /** Cases that have passed. */
  get passed(): number {
    return this.#load(PASSED)
  }

  set passed(value: number) {
    this.#store(PASSED, value)
  }

  get isFailed(): boolean {
    return this.#load(FAILED) !== 0
  }

  /** All cases are done, or one has failed and its programs have come to their end. */
  get isOver(): boolean {
    return this.#load(OVER) !== 0
  }

  end(): void {
    this.#store(OVER, 1)
  }

  /** A case has failed: the first that says so says why. */
  fail(text: string): void {
    if (Atomics.compareExchange(this.#words, this.#first + FAILED, 0, 1) !== 0) return
    const bytes = new TextEncoder().encode(text).subarray(0, TEXT_BYTES)
    this.#bytes.set(bytes)
    this.#store(WORDS, bytes.length)
  }

  get failure(): string {
    return new TextDecoder().decode(this.#bytes.slice(0, this.#load(WORDS)))
  }

  /** A CPU has come so far. */
  arrive(cpu: number, mark: number): void {
    this.#store(AT + cpu, mark)
  }

  haveArrived(cpus: number, mark: number): boolean {
    for (let cpu = 0; cpu < cpus; cpu++) if (this.#load(AT + cpu) < mark) return false
    return true
  }

  hold(cpu: number, { sockets, connections, retained }: Holding): void {
    this.#store(SOCKETS + cpu, sockets)
    this.#store(CONNECTIONS + cpu, connections)
    this.#store(RETAINED + cpu, retained)
  }

  held(cpus: number): Holding {
    const sum = (first: number) => {
      let total = 0
      for (let cpu = 0; cpu < cpus; cpu++) total += this.#load(first + cpu)
      return total
    }
    return { sockets: sum(SOCKETS), connections: sum(CONNECTIONS), retained: sum(RETAINED) }
  }

  /** Of the case that runs: a number under a name. */
  note(name: string, value: number): void {
    this.#store(this.#place(name) + 1, value)
  }

  /** Undefined until somebody has noted it. */
  noted(name: string): number | undefined {
    const place = this.#place(name)
    return this.#load(place + 1) === NOTHING ? undefined : this.#load(place + 1)
  }

  add(name: string, value: number): number {
    const place = this.#first + this.#place(name) + 1
    Atomics.compareExchange(this.#words, place, NOTHING, 0)
    return Atomics.add(this.#words, place, value) + value
  }

  forget(): void {
    for (let i = 0; i < NOTES; i++) {
      this.#store(NOTE + 2 * i, 0)
      this.#store(NOTE + 2 * i + 1, NOTHING)
    }
  }

  /** Of a name: the first place that is its own or free. */
  #place(name: string): number {
    const key = channel(name) | 1
    for (let i = 0; i < NOTES; i++) {
      const place = NOTE + 2 * i
      const seen = Atomics.compareExchange(this.#words, this.#first + place, 0, key)
      if (seen === 0 || seen === key) return place
    }
    throw new Error('a case notes less than that')
  }

  #load(word: number): number {
    return Atomics.load(this.#words, this.#first + word)
  }

  #store(word: number, value: number): void {
    Atomics.store(this.#words, this.#first + word, value)
  }
}

const NOTHING = -0x80000000

/** Wakes what waits on every CPU: a word of the board has changed. */
export function wakeAll(cpu: Cpu): void {
  for (let each = 0; each < cpu.cpus; each++) cpu.sleepQueue.wakeup(channelOf(each))
}

/** What the programs of a CPU sleep on. */
export function channelOf(cpu: number): number {
  return channel('cases') + cpu
}
