// What every CPU of a machine under test runs: a server's host and a client's, joined by a wire, and the cases of the table on them, one after the
// other. Between two of them everything has to be back where it was: sockets, connections, packets and memory.
import assert from 'node:assert/strict'
import { MbufCounters } from '../../src/device/mbuf.ts'
import type { WireOptions, WireSide } from '../../src/device/wire.ts'
import type { Cpu } from '../../src/kernel/cpu.ts'
import type { Thread } from '../../src/kernel/thread.ts'
import { SlabCounters, total } from '../../src/kernel.ts'
import { TcpCounters } from '../../src/net/counters.ts'
import { CHUNKS_MAX, GroupRecord } from '../../src/net/tcp/groupset.ts'
import { type HostConfig, Stack } from '../../src/stack.ts'
import { Board, channelOf, wakeAll } from './board.ts'
import { type Case, CLIENT, type Place, type Play, placesOf, SERVER, type Setting } from './case.ts'
import { Abandoned, Program } from './program.ts'
import { TABLE } from './table.ts'

export interface PlayData {
  readonly setting: Setting
  /** Which cases of the table, by their names, in this order. */
  readonly names: readonly string[]
}

/** After so long what a case has left behind is called left behind. TIME-WAITs stay, and are counted. */
const SETTLE_US = { sim: 300e6, threads: 15e6, inline: 15e6 } as const
const LOOK_US = 300
const G = GroupRecord.offset

export function wireOf({ owners }: Setting): WireOptions {
  const cpus = Array.from({ length: owners }, (_, i) => i)
  return { name: 'wire0', a: cpus, b: cpus, entries: 4096 }
}

export default function play(cpu: Cpu, data: PlayData): void {
  new Player(cpu, data)
}

class Player {
  readonly #cpu: Cpu
  readonly #data: PlayData
  readonly #board: Board
  readonly #server: Stack
  readonly #client: Stack
  /** Programs that run here. */
  #running = 0
  #mark = 0

  constructor(cpu: Cpu, data: PlayData) {
    this.#cpu = cpu
    this.#data = data
    this.#board = new Board(cpu.memory)
    this.#server = new Stack(cpu, this.#config('server', 0, 'b', SERVER))
    this.#client = new Stack(cpu, this.#config('client', 1, 'a', CLIENT))
    if (cpu.index === 0) this.#board.forget()
    cpu.threads.start('cases', (thread) => this.#playAll(thread))
  }

  #config(name: string, index: number, side: WireSide, address: string): HostConfig {
    const { setting } = this.#data
    const { discipline, groups, owners } = setting
    return {
      name,
      index,
      cpus: Array.from({ length: owners }, (_, i) => i),
      programs: [owners],
      discipline,
      ...(groups === undefined ? {} : { groups }),
      interfaces: [
        { name: 'wire0', device: { kind: 'wire', wire: wireOf(setting), side }, addresses: [`${address}/24`] },
      ],
    }
  }

  *#playAll(thread: Thread): Generator<void, void, void> {
    yield* this.#server.start(thread)
    yield* this.#client.start(thread)
    const { setting, names } = this.#data
    const first = this.#cpu.index === 0
    yield* this.#meet(thread)
    for (const name of names) {
      const found = TABLE.find((each) => each.name === name)
      assert(found !== undefined, name)
      for (const place of placesOf(setting)) {
        yield* this.#hold(thread)
        const before = this.#objects()
        const packets = this.#packets()
        yield* this.#meet(thread)
        yield* this.#play(thread, found, place)
        yield* this.#settle(thread, before, packets, `${name} (programs on CPUs ${place.server} and ${place.client})`)
        if (this.#board.isFailed) break
        if (first) this.#board.forget()
      }
      if (this.#board.isFailed) break
      yield* this.#meet(thread)
      if (first) this.#board.passed++
    }
    yield* this.#meet(thread)
    if (first) this.#board.end()
  }

  /** Runs this CPU's programs of a case to their ends. */
  *#play(thread: Thread, { server, client, servers, clients }: Case, place: Place): Generator<void, void, void> {
    const { index } = this.#cpu
    if (server !== undefined && place.server === index) this.#start(server, place, 'server')
    if (client !== undefined && place.client === index) this.#start(client, place, 'client')
    if (servers !== undefined) this.#start(servers, place, 'server')
    if (clients !== undefined) this.#start(clients, place, 'client')
    const on = channelOf(index)
    while (this.#running > 0) {
      thread.interlock(on)
      if (this.#running > 0) yield* thread.sleep(on)
      else thread.disinterlock()
    }
  }

  #start(play: Play, place: Place, side: 'server' | 'client'): void {
    this.#running++
    const player = this
    const stack = side === 'server' ? this.#server : this.#client
    this.#cpu.threads.start(`${side} of a case`, function* (thread) {
      const program = new Program(thread, stack, player.#board, player.#data.setting, place, side)
      try {
        yield* play(program)
        program.finish()
      } catch (error) {
        if (!(error instanceof Abandoned)) {
          player.#board.fail(`${side} on CPU ${thread.cpu.index}: ${error instanceof Error ? error.stack : error}`)
        }
      }
      player.#running--
      wakeAll(thread.cpu)
    })
  }

  /** Goes on when all CPUs are here. */
  *#meet(thread: Thread): Generator<void, void, void> {
    const mark = ++this.#mark
    this.#board.arrive(this.#cpu.index, mark)
    wakeAll(this.#cpu)
    const on = channelOf(this.#cpu.index)
    for (;;) {
      thread.interlock(on)
      if (this.#board.haveArrived(this.#cpu.cpus, mark)) return thread.disinterlock()
      yield* thread.sleep(on)
    }
  }

  /** Waits until nothing is left of a case. CPU 0 judges, while the others stand still. */
  *#settle(thread: Thread, objects: number, packets: number, name: string): Generator<void, void, void> {
    const board = this.#board
    const { cpu } = thread
    // When the programs of all CPUs have ended, and not only this one's.
    yield* this.#meet(thread)
    const end = cpu.clock.now() + SETTLE_US[this.#data.setting.host]
    const step = board.step + 1
    for (let lookUs = LOOK_US; ; lookUs *= 2) {
      yield* this.#hold(thread)
      if (cpu.index === 0) {
        const left = board.isFailed ? '' : this.#left(objects, packets)
        const isLate = cpu.clock.now() > end
        if (left !== '' && isLate) board.fail(`${name} leaves behind: ${left}`)
        if (left === '' || isLate) board.step = step
      }
      yield* this.#meet(thread)
      if (board.step === step) return
      if (cpu.index === 0) yield* thread.delay(lookUs)
    }
  }

  /** Says what this CPU has, and goes on when all have said so. */
  *#hold(thread: Thread): Generator<void, void, void> {
    this.#board.hold(this.#cpu.index, this.#holding())
    // What was tallied in this turn is else not told before it has ended.
    this.#cpu.counterPage.fold()
    yield* this.#meet(thread)
  }

  /** What is not as it was, in words. */
  #left(objects: number, packets: number): string {
    const { sockets, connections, retained } = this.#board.held(this.#cpu.cpus)
    const opened = this.#sum('opened') - this.#sum('closed')
    const left = {
      'TCP sockets': sockets,
      'connections and embryos': connections,
      'opened, and not closed': opened,
      packets: this.#packets() - packets,
      'objects of memory': this.#live() - retained - objects,
    }
    return Object.entries(left)
      .filter(([, count]) => count !== 0)
      .map(([what, count]) => `${count} ${what}`)
      .join(', ')
  }

  #sum(counter: keyof typeof TcpCounters.index): number {
    return total(this.#cpu.memory, TcpCounters, counter)
  }

  #packets(): number {
    const { memory } = this.#cpu
    return total(memory, MbufCounters, 'allocated') - total(memory, MbufCounters, 'freed')
  }

  /** Objects of memory that are no record which stays by design: before a case. All CPUs have held the same instant. */
  #objects(): number {
    return this.#live() - this.#board.held(this.#cpu.cpus).retained
  }

  #live(): number {
    const { memory } = this.#cpu
    const sum = (counter: keyof typeof SlabCounters.index) => total(memory, SlabCounters, counter)
    return sum('allocated') - sum('freed')
  }

  #holding(): { sockets: number; connections: number; retained: number } {
    const holding = { sockets: 0, connections: 0, retained: 0 }
    const words = this.#cpu.memory.u32
    for (const { tcp, arp, hostCache, groups, connectionGroups } of [this.#server, this.#client]) {
      holding.sockets += tcp.size
      holding.retained += arp.size + hostCache.size + groups.size
      for (const group of connectionGroups) {
        const g = group >> 2
        holding.connections += words[g + (G.connections >> 2)]! + words[g + (G.embryos >> 2)]!
        holding.retained += words[g + (G.timeWaits >> 2)]!
        // A table that has grown stays as large as it is.
        for (let c = 0; c < CHUNKS_MAX; c++) if (words[g + (G.chunks >> 2) + c] !== 0) holding.retained++
      }
    }
    return holding
  }
}
