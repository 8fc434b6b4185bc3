// What a program of a case has: its host's sockets, words that it shares with the others, and waiting that never looks at a clock but to call a hang
// by its name.
import type { Cpu } from '../../src/kernel/cpu.ts'
import type { Thread } from '../../src/kernel/thread.ts'
import { errnoName, KernelError, total } from '../../src/kernel.ts'
import { TcpCounters } from '../../src/net/counters.ts'
import type { Stack, TcpConnectOptions, TcpListenOptions, UdpSocketOptions } from '../../src/stack.ts'
import { type Board, channelOf, wakeAll } from './board.ts'
import { CLIENT, type Place, SERVER, type Setting } from './case.ts'
import { Datagrams } from './datagrams.ts'
import { Server } from './server.ts'
import { Stream } from './stream.ts'

/** After so long what a program waits for does not come. Virtual time costs nothing. */
const PATIENCE_US = { sim: 2000e6, threads: 20e6, inline: 20e6 } as const

const ASK_US = 1000

/** Another program of the case has failed: this one ends as well. */
export class Abandoned extends Error {}

export class Program {
  readonly cpu: Cpu
  readonly stack: Stack
  readonly setting: Setting
  readonly place: Place
  readonly side: 'server' | 'client'
  readonly #thread: Thread
  readonly #board: Board
  readonly #open: { readonly isOpen: boolean; readonly what: string }[] = []

  constructor(thread: Thread, stack: Stack, board: Board, setting: Setting, place: Place, side: 'server' | 'client') {
    this.#thread = thread
    this.cpu = thread.cpu
    this.stack = stack
    this.#board = board
    this.setting = setting
    this.place = place
    this.side = side
  }

  /** The own host's address, and the other's. */
  get address(): string {
    return this.side === 'server' ? SERVER : CLIENT
  }

  get peer(): string {
    return this.side === 'server' ? CLIENT : SERVER
  }

  /** Waits until `condition` holds; it is looked at when something has happened. @throws Error that says what did not come */
  *until(what: string, condition: () => boolean): Generator<void, void, void> {
    const end = this.cpu.clock.now() + PATIENCE_US[this.setting.host]
    const on = channelOf(this.cpu.index)
    const thread = this.#thread
    for (;;) {
      if (condition()) return
      if (this.#board.isFailed) throw new Abandoned()
      const left = end - this.cpu.clock.now()
      if (left <= 0) throw new Error(`waits in vain for ${what}`)
      thread.interlock(on)
      if (condition() || this.#board.isFailed) thread.disinterlock()
      else yield* thread.sleep(on, { timeoutUs: left })
    }
  }

  /** Something happened on this CPU that a program may wait for. */
  readonly happened = (): void => {
    this.cpu.sleepQueue.wakeLocal(channelOf(this.cpu.index) | 0, false)
  };

  /** Asks again and again, for what nobody tells. */
  *untilFound<T>(
    what: string,
    ask: () => Generator<void, T | undefined, void>,
    atMostUs = ASK_US,
  ): Generator<void, T, void> {
    const end = this.cpu.clock.now() + PATIENCE_US[this.setting.host]
    for (;;) {
      const found = yield* ask()
      if (found !== undefined) return found
      if (this.#board.isFailed) throw new Abandoned()
      if (this.cpu.clock.now() > end) throw new Error(`waits in vain for ${what}`)
      // At random: two who ask each other must not stay in step.
      yield* this.#thread.delay(1 + this.cpu.random.below(atMostUs))
    }
  }

  /** As `until`, for what nobody tells. */
  *untilSeen(what: string, condition: () => boolean): Generator<void, void, void> {
    const thread = this.#thread
    yield* this.untilFound(what, function* () {
      if (condition()) return true
      yield* thread.pause()
      return undefined
    })
  }

  /** Tells the other programs a number. */
  tell(name: string, value = 1): void {
    this.#board.note(name, value)
    wakeAll(this.cpu)
  }

  /** One more: returns how many. */
  count(name: string, value = 1): number {
    const sum = this.#board.add(name, value)
    wakeAll(this.cpu)
    return sum
  }

  told(name: string): number | undefined {
    return this.#board.noted(name)
  }

  /** Waits until a program has told the number, and returns it. */
  *hear(name: string): Generator<void, number, void> {
    yield* this.until(`"${name}"`, () => this.#board.noted(name) !== undefined)
    return this.#board.noted(name)!
  }

  /** Waits until so many programs have counted. */
  *hearAll(name: string, count: number): Generator<void, void, void> {
    yield* this.until(`${count} of "${name}"`, () => (this.#board.noted(name) ?? 0) >= count)
  }

  /** A count of TCP, of all CPUs of both hosts. */
  counted(counter: keyof typeof TcpCounters.index): number {
    return total(this.cpu.memory, TcpCounters, counter)
  }

  connect(options: Partial<TcpConnectOptions> & { readonly port: number }): Stream {
    return this.keep(new Stream(this, this.stack.tcp.connect({ address: this.peer, ...options })))
  }

  /** The errno and syscall of what is refused at once, or "nothing". */
  codeOf(run: () => unknown): string {
    try {
      run()
    } catch (error) {
      if (error instanceof KernelError) return `${error.code} ${error.syscall}`
      throw error
    }
    return 'nothing'
  }

  /** Listens, and waits until every CPU knows. */
  *listen(options: TcpListenOptions): Generator<void, Server, void> {
    const server = this.keep(new Server(this, options))
    yield* server.listening()
    return server
  }

  /** Why it cannot be listened. */
  *refusedListen(options: TcpListenOptions): Generator<void, string, void> {
    const server = new Server(this, options)
    yield* this.until('an answer to listen', () => server.answer !== undefined)
    if (server.answer === 0) {
      yield* server.close()
      return 'listens'
    }
    return errnoName(server.answer!)
  }

  /** A bound UDP socket. */
  *bind(options: UdpSocketOptions = {}): Generator<void, Datagrams, void> {
    const datagrams = this.keep(new Datagrams(this, options))
    yield* datagrams.bound()
    return datagrams
  }

  *refusedBind(options: UdpSocketOptions): Generator<void, string, void> {
    const datagrams = new Datagrams(this, options)
    yield* this.until('an answer to bind', () => datagrams.answer !== undefined)
    if (datagrams.answer === 0) {
      yield* datagrams.close()
      return 'binds'
    }
    return errnoName(datagrams.answer!)
  }

  /** It has to be closed before the program ends. */
  keep<T extends { readonly isOpen: boolean; readonly what: string }>(what: T): T {
    this.#open.push(what)
    return what
  }

  /** The program is at its end. */
  finish(): void {
    const open = this.#open.filter(({ isOpen }) => isOpen).map(({ what }) => what)
    if (open.length > 0) throw new Error(`ends and has not closed ${open.join(', ')}`)
  }
}

/** The bytes of all streams: what stands at a position tells which. */
export function pattern(from: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let i = 0; i < count; i++) bytes[i] = byteAt(from + i)
  return bytes
}

export function byteAt(position: number): number {
  return (position * 31 + (position >>> 8) * 7 + (position >>> 16) * 13) & 255
}

export const text = (words: string): Uint8Array => new TextEncoder().encode(words)
