// The connection groups of one discipline: where their records lie. Group g is at home on CPU g mod n of the host's; where they share a
// table, all are on the first. For group.ts, which has one such set in use, and while the discipline changes a second one (change.ts).
//
// Each CPU has its share in blocks, and tells the others of them in a directory, whose address has a name:
//
//   directory:   | slab's | secret, 32 bytes | set in use | discipline | groups | blocks of an even set | of an odd set |
//   block:       | slab's | group | group | …   64 groups at most
import { assert } from '../../base/assert.ts'
import { type Address, atomic, bytes, f64, struct, u32 } from '../../base/struct.ts'
import { lockClass } from '../../kernel/lock.ts'
import type { Memory } from '../../kernel/memory.ts'
import { Mutex } from '../../kernel/mutex.ts'
import { Names } from '../../kernel/name.ts'
import type { NetContext } from '../context.ts'
import { DISCIPLINES, type Discipline, GROUPS_MAX, groupCount } from '../discipline.ts'

/** Buckets of a table come in so many chunks at most. */
export const CHUNKS_MAX = 64

export const GroupRecord = struct({
  lock: atomic, //             0
  padding0: bytes(60),
  // Heads of the lists of connections with something to send, something to tell, and of records that nobody needs any more.
  outputFirst: u32, //        64
  eventFirst: u32, //         68
  deadFirst: u32, //          72
  /** Connections that are over and whose record somebody still has. */
  shellFirst: u32, //         76
  /** Embryonic connections, and those in TIME-WAIT. */
  embryos: u32, //            80
  timeWaits: u32, //          84
  timeWaitOldest: u32, //     88
  timeWaitNewest: u32, //     92
  connections: u32, //        96
  index: u32, //             100
  /** The latest time that anybody inside has had, µs: turns of different CPUs begin at different times. */
  now: f64, //               104
  padding1: bytes(16),
  // The table (table.ts).
  tableLock: atomic, //      128
  key0: u32, //              132
  key1: u32, //              136
  buckets: u32, //           140
  mask: u32, //              144
  count: u32, //             148
  padding2: bytes(40),
  chunks: bytes(CHUNKS_MAX * 4), // 192
})
assert(GroupRecord.size % 64 === 0, 'groups lie on lines of their own')

const HEADER_BYTES = 64
const BLOCK_GROUPS = 64
const BLOCK_BYTES = HEADER_BYTES + BLOCK_GROUPS * GroupRecord.size
const BLOCKS_MAX = GROUPS_MAX / BLOCK_GROUPS
const SECRET_WORDS = 8
const LOCK = GroupRecord.offset.lock
const INDEX = GroupRecord.offset.index >> 2
const GROUP_LOCK = lockClass('connection group')
const GIANT_LOCK = lockClass('giant')

const DirectoryRecord = struct({
  /** The slab's while the record is free. */
  slab: bytes(16),
  secret: bytes(SECRET_WORDS * 4),
  /** Which of the two lists of blocks is in use: the number of the set, its lowest bit. */
  number: u32,
  discipline: u32, // by its place in DISCIPLINES
  groups: u32,
  /** Of the host, in the first CPU's directory: 1 while connections move, and the number of the set that they have moved to last. */
  moving: atomic,
  moved: atomic,
  /** Of the host, in the first CPU's directory: 1 when a CPU has stopped. */
  stopped: atomic,
  padding: bytes(8),
  even: bytes(BLOCKS_MAX * 4),
  odd: bytes(BLOCKS_MAX * 4),
})
const D = DirectoryRecord.offset

/** What the CPUs of a host tell each other of their groups. */
export class GroupDirectory {
  readonly #context: NetContext
  readonly #words: Uint32Array
  readonly #own: Address
  /** By position among the host's CPUs, as far as they were needed. */
  readonly #others: Address[] = []

  constructor(context: NetContext) {
    const { cpu, memory } = context
    this.#context = context
    this.#words = memory.u32
    this.#own = cpu.slab.allocate(DirectoryRecord.size)
    memory.u8.fill(0, this.#own + D.secret, this.#own + DirectoryRecord.size)
    for (let i = 0; i < SECRET_WORDS; i++) this.#words[((this.#own + D.secret) >> 2) + i] = cpu.random.next()
    if (this.position >= 0) cpu.names.add(directoryName(context.config.name, cpu.index), this.#own)
    cpu.onStop(() => cpu.slab.free(this.#own))
  }

  /** This CPU's place among those that own flows; -1: it only has programs. */
  get position(): number {
    return this.#context.config.cpus.indexOf(this.#context.cpu.index)
  }

  /** A source of numbers that is the same on all CPUs of the host, and known to nobody else: for keys. Once all have their part. */
  secret(): { next(): number } {
    let word = (this.#of(0) + D.secret) >> 2
    return { next: () => this.#words[word++]! }
  }

  /** Tells of a block, or of none any more. */
  publish(number: number, place: number, block: Address): void {
    this.#words[(this.#own + list(number) + place * 4) >> 2] = block
  }

  /** The block of a set's groups that the CPU at `position` has as its `place`-th; 0: it has told of none. */
  block(number: number, position: number, place: number): Address {
    return this.#words[(this.#of(position) + list(number) + place * 4) >> 2]!
  }

  /**
   * Runs `move`, which moves all connections and answers with the number of the set that has them now. False, and nothing happens:
   * a CPU has stopped, and what it has is its own.
   */
  moving(move: () => number): boolean {
    const { i32 } = this.#context.memory
    const first = this.#of(0)
    Atomics.store(i32, (first + D.moving) >> 2, 1)
    try {
      if (Atomics.load(i32, (first + D.stopped) >> 2) !== 0) return false
      Atomics.store(i32, (first + D.moved) >> 2, move())
      return true
    } finally {
      Atomics.store(i32, (first + D.moving) >> 2, 0)
    }
  }

  /** This CPU stops: from here on nothing moves. Returns the number of the set that all connections were moved to last; 0: they never were. */
  stop(): number {
    const { cpu, memory } = this.#context
    const { i32 } = memory
    const first = this.#of(0)
    // Before the look at `moving`, as the other one looks here behind it.
    Atomics.store(i32, (first + D.stopped) >> 2, 1)
    while (Atomics.load(i32, (first + D.moving) >> 2) !== 0) cpu.host.relax(cpu)
    return Atomics.load(i32, (first + D.moved) >> 2)
  }

  /** This CPU has another set in use. */
  use(set: GroupSet): void {
    const words = this.#words
    words[(this.#own + D.number) >> 2] = set.number
    words[(this.#own + D.discipline) >> 2] = DISCIPLINES.indexOf(set.discipline)
    words[(this.#own + D.groups) >> 2] = set.count
  }

  #of(position: number): Address {
    this.#others[position] ||= this.#find(this.#context.config.cpus[position]!)
    return this.#others[position]
  }

  #find(cpu: number): Address {
    const { config } = this.#context
    const found =
      cpu === this.#context.cpu.index ? this.#own : this.#context.cpu.names.find(directoryName(config.name, cpu))
    assert(found !== 0, 'a group is looked for when all CPUs of the host have their part')
    return found
  }
}

/** The discipline that a host has now, as its CPU `cpu` knows it; undefined: there is no such host. For readers from outside. */
export function disciplineOf(
  memory: Memory,
  host: string,
  cpu: number,
): { readonly discipline: Discipline; readonly groups: number } | undefined {
  const directory = new Names(memory).find(directoryName(host, cpu))
  if (directory === 0) return undefined
  const discipline = DISCIPLINES[memory.u32[(directory + D.discipline) >> 2]!]
  return discipline === undefined ? undefined : { discipline, groups: memory.u32[(directory + D.groups) >> 2]! }
}

export class GroupSet {
  /** Counts the sets of a host, from 0. */
  readonly number: number
  readonly discipline: Discipline
  /** Entering takes a lock. */
  readonly isLocked: boolean
  /** All groups have one table, which has a lock of its own. */
  readonly sharesTable: boolean
  readonly count: number
  /** The groups that are at home on this CPU. */
  readonly home: readonly Address[]
  /** Where no flow belongs to this CPU, a group that stays empty, so that nobody has to ask; else the first of `home`, or another. */
  readonly idle: Address
  readonly #context: NetContext
  readonly #directory: GroupDirectory
  readonly #words: Uint32Array
  readonly #blocks: Address[] = []
  readonly #addresses: Address[] = []
  readonly #mutexes: (Mutex | undefined)[] = []

  /** @throws KernelError EINVAL for what cannot be; ENOMEM, and nothing is left of it */
  constructor(
    context: NetContext,
    directory: GroupDirectory,
    number: number,
    discipline: Discipline,
    wanted: number | undefined,
  ) {
    const cpus = context.config.cpus.length
    this.#context = context
    this.#directory = directory
    this.#words = context.memory.u32
    this.number = number
    this.discipline = discipline
    this.isLocked = discipline !== 'connp-t'
    this.sharesTable = discipline === 'msgp'
    this.count = groupCount(discipline, cpus, wanted)
    const { position } = directory
    const indexes = Array.from({ length: this.count }, (_, i) => i).filter((i) => this.homeOf(i) === position)
    try {
      for (let i = 0; i < Math.max(indexes.length, 1); i += BLOCK_GROUPS) this.#blocks.push(this.#block())
    } catch (error) {
      for (const block of this.#blocks) context.cpu.slab.free(block)
      throw error
    }
    this.idle = recordIn(this.#blocks[0]!, 0)
    this.home = indexes.map((index, i) => {
      const group = recordIn(this.#blocks[Math.floor(i / BLOCK_GROUPS)]!, i % BLOCK_GROUPS)
      this.#words[(group >> 2) + INDEX] = index
      this.#addresses[index] = group
      return group
    })
    for (const [place, block] of this.#blocks.entries()) directory.publish(number, place, block)
  }

  /** The group of a flow's hash. */
  of(hash: number): Address {
    return this.at(hash % this.count)
  }

  at(index: number): Address {
    return this.#addresses[index] ?? this.#find(index)
  }

  /** The groups that have a table: all, or the one that has it for all. */
  tables(): readonly Address[] {
    return Array.from({ length: this.sharesTable ? 1 : this.count }, (_, i) => this.at(i))
  }

  /** Those of them that are at home here. */
  get homeTables(): readonly Address[] {
    return this.sharesTable ? this.home.slice(0, 1) : this.home
  }

  indexOf(group: Address): number {
    return this.#words[(group >> 2) + INDEX]!
  }

  mutex(group: Address): Mutex {
    const index = this.indexOf(group)
    this.#mutexes[index] ??= new Mutex(group + LOCK, this.discipline === 'giant' ? GIANT_LOCK : GROUP_LOCK)
    return this.#mutexes[index]
  }

  /** The CPU that a group is at home on, by its position among those of the host. */
  homeOf(index: number): number {
    return this.sharesTable ? 0 : index % this.#context.config.cpus.length
  }

  /** Nobody knows its groups any more. */
  free(): void {
    for (const place of this.#blocks.keys()) this.#directory.publish(this.number, place, 0)
    this.end()
  }

  /** The machine stops. Others may still look for its groups, which are closed for good: what was told of them stays. */
  end(): void {
    for (const block of this.#blocks) this.#context.cpu.slab.free(block)
    this.#blocks.length = 0
  }

  #find(index: number): Address {
    const place = this.sharesTable ? index : Math.floor(index / this.#context.config.cpus.length)
    const block = this.#directory.block(this.number, this.homeOf(index), Math.floor(place / BLOCK_GROUPS))
    assert(block !== 0, 'a group is entered when all CPUs of the host have their part')
    const address = recordIn(block, place % BLOCK_GROUPS)
    this.#addresses[index] = address
    return address
  }

  /** A block of groups that are all zero. */
  #block(): Address {
    const { cpu, memory } = this.#context
    const block = cpu.slab.allocate(BLOCK_BYTES)
    memory.u8.fill(0, block + HEADER_BYTES, block + BLOCK_BYTES)
    return block
  }
}

function recordIn(block: Address, position: number): Address {
  return block + HEADER_BYTES + position * GroupRecord.size
}

function directoryName(host: string, cpu: number): string {
  return `${host}/tcp groups/${cpu}`
}

function list(number: number): number {
  return (number & 1) === 0 ? D.even : D.odd
}
