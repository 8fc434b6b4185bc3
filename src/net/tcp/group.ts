// Connection groups: the state that connections share, as records in the machine's memory, and how a CPU enters one (discipline.ts).
// Whoever is inside a group may touch its connections, its lists and its table; nobody else may, and `assertInside` proves it.
//
// Each CPU of a host has blocks with the records of its share of the groups, group g being at home on CPU g mod n; where they share a
// table, all are on the first. Under connp-t there is one group for each CPU, and a CPU is inside its own all the time. Under the other
// disciplines a group is a lock: whoever has it is inside. What a CPU marks in a group, to be sent or told at the end of the batch,
// it does in the roll-ups, for which it enters each group that it has touched once more.
//
//   block:   | slab's | secret, 32 bytes | group | group | …   64 groups at most
import { assert } from '../../base/assert.ts'
import { type Address, atomic, bytes, f64, struct, u32 } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { lockClass } from '../../kernel/lock.ts'
import { Mutex } from '../../kernel/mutex.ts'
import type { NetContext } from '../context.ts'
import { type Discipline, groupCount } from '../discipline.ts'

/** Buckets of a table come in so many chunks at most. */
export const CHUNKS_MAX = 64

export const GroupRecord = struct({
  lock: atomic, //             0
  padding0: bytes(60),
  // Heads of the lists of connections with something to send, something to tell, and of records that nobody needs any more.
  outputFirst: u32, //        64
  eventFirst: u32, //         68
  deadFirst: u32, //          72
  /** Connections that are over and still belong to a program. */
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
/** Behind the words that are the slab's while the block is free. */
const SECRET = 16
const SECRET_WORDS = 8
const LOCK = GroupRecord.offset.lock
const GROUP_LOCK = lockClass('connection group')
const GIANT_LOCK = lockClass('giant')

export class Groups {
  readonly discipline: Discipline
  /** Entering takes a lock. */
  readonly isLocked: boolean
  /** All groups have one table, which has a lock of its own. */
  readonly sharesTable: boolean
  readonly count: number
  /** The group that this CPU is in, or was in last. */
  current: Address
  /** The groups that are at home on this CPU. */
  readonly home: readonly Address[]
  /** The group whose table has the connections of `current`. */
  table: Address
  /** Called when this CPU has come to be inside a group. */
  onEnter: () => void = () => {}
  readonly #cpu: Cpu
  readonly #context: NetContext
  readonly #blocks: readonly Address[]
  readonly #mutexes: (Mutex | undefined)[] = []
  readonly #addresses: Address[] = []
  /** Of entering again what one is in. */
  #depth = 0
  /** Those that were entered since the last roll-up. */
  readonly #touched: Address[] = []
  readonly #isTouched: Uint8Array

  /** @throws KernelError EINVAL */
  constructor(context: NetContext) {
    const { cpu, config } = context
    this.#context = context
    this.#cpu = cpu
    this.discipline = config.discipline ?? 'connp-t'
    this.isLocked = this.discipline !== 'connp-t'
    this.sharesTable = this.discipline === 'msgp'
    this.count = groupCount(this.discipline, config.cpus.length, config.groups)
    this.#isTouched = new Uint8Array(this.count)
    const position = config.cpus.indexOf(cpu.index)
    const indexes = Array.from({ length: this.count }, (_, i) => i).filter((i) => this.#homeOf(i) === position)
    // Where no flow belongs to the CPU, one that stays empty, so that nobody has to ask.
    this.#blocks = Array.from({ length: Math.ceil(Math.max(indexes.length, 1) / BLOCK_GROUPS) }, () => this.#block())
    this.current = recordIn(this.#blocks[0]!, 0)
    this.table = this.current
    this.home = indexes.map((index, i) => {
      const group = recordIn(this.#blocks[Math.floor(i / BLOCK_GROUPS)]!, i % BLOCK_GROUPS)
      context.memory.u32[(group + GroupRecord.offset.index) >> 2] = index
      this.#addresses[index] = group
      return group
    })
    if (position >= 0) {
      for (const [i, block] of this.#blocks.entries()) cpu.names.add(nameOf(context, cpu.index, i), block)
    }
    cpu.onStop(() => {
      for (const block of this.#blocks) cpu.slab.free(block)
    })
  }

  /** The group of a flow's hash. */
  of(hash: number): Address {
    return this.at(hash % this.count)
  }

  at(index: number): Address {
    return this.#addresses[index] ?? this.#find(index)
  }

  /** A source of numbers that is the same on all CPUs of the host, and known to nobody else: for keys. Once all have their part. */
  secret(): { next(): number } {
    const block = this.#blockOf(0, 0)
    let word = 0
    return { next: () => this.#context.memory.u32[((block + SECRET) >> 2) + word++]! }
  }

  /** Comes to be inside `group`. Once more in the same is nothing; in another one, before the first is left, is a bug. */
  enter(group: Address, site = 0): void {
    if (!this.isLocked) {
      assert(group === this.current, 'a group of connp-t is entered by its own CPU')
      return
    }
    if (this.#depth > 0) assert(group === this.current, 'a CPU is in one group at a time')
    else {
      this.#mutex(group).enter(this.#cpu, site)
      this.#begin(group)
    }
    if (this.#depth++ === 0) this.onEnter()
  }

  /** As `enter`, into the group of a flow that a packet belongs to. Under connp-t dispatch has brought it to the right CPU. */
  enterFlow(hash: number, site: number): void {
    if (this.isLocked) this.enter(this.of(hash), site)
  }

  /** Whether this CPU may enter the group of a flow. */
  mayEnter(hash: number): boolean {
    return this.isLocked || this.of(hash) === this.current
  }

  /** As `enter`, if nobody else is inside. */
  tryEnter(group: Address): boolean {
    if (!this.isLocked) return true
    if (this.#depth > 0) {
      if (group !== this.current) return false
    } else {
      if (!this.#mutex(group).tryEnter(this.#cpu)) return false
      this.#begin(group)
    }
    if (this.#depth++ === 0) this.onEnter()
    return true
  }

  leave(): void {
    if (!this.isLocked) return
    assert(this.#depth > 0, 'a group is left by who has entered it')
    if (--this.#depth === 0) this.#mutex(this.current).leave(this.#cpu)
  }

  get isInside(): boolean {
    return !this.isLocked || this.#depth > 0
  }

  /** Runs `each` inside every group that this CPU has touched. Under connp-t that is its own. */
  forTouched(each: () => void, site: number): void {
    if (!this.isLocked) return each()
    // What is called may enter others: those have their turn with the next roll-up.
    const count = this.#touched.length
    for (let i = 0; i < count; i++) {
      this.enter(this.#touched[i]!, site)
      each()
      this.leave()
    }
  }

  /** As `forTouched`, and forgets those in which `each` has left nothing to do. */
  settleTouched(each: () => boolean, site: number): void {
    if (!this.isLocked) {
      each()
      return
    }
    const touched = this.#touched
    const count = touched.length
    let kept = 0
    for (let i = 0; i < count; i++) {
      const group = touched[i]!
      this.enter(group, site)
      if (each()) this.#isTouched[this.#indexOf(group)] = 0
      else touched[kept++] = group
      this.leave()
    }
    for (let i = count; i < touched.length; i++) touched[kept++] = touched[i]!
    touched.length = kept
  }

  /** Whether there is a group for the roll-ups. */
  get hasTouched(): boolean {
    return this.#touched.length > 0
  }

  /** The machine stops: `each` is the last that happens in this CPU's groups. Nobody enters them any more. */
  closeHome(each: () => void): void {
    if (this.isLocked) this.#closeLocked(each)
    else for (const _group of this.home) each()
  }

  #closeLocked(each: () => void): void {
    const cpu = this.#cpu
    const words = cpu.memory.i32
    // What an exception has left entered: others wait for it.
    if (this.#depth > 0) {
      this.#depth = 0
      this.#mutex(this.current).leave(cpu)
    }
    // All of them first, and for good. Whoever is inside leaves soon, in its last turn or as above. Not by `Mutex.enter`, which gives up when
    // the machine stops.
    for (const group of this.home) {
      while (Atomics.compareExchange(words, (group + LOCK) >> 2, 0, cpu.index + 1) !== 0) cpu.host.relax(cpu)
    }
    // Nobody is inside a group, so nobody in the table; writers that gave up may have left their mark.
    if (this.sharesTable && this.home.length > 0) {
      Atomics.store(words, (this.home[0]! + GroupRecord.offset.tableLock) >> 2, 0)
    }
    this.#depth = 1
    for (const group of this.home) {
      this.#begin(group)
      each()
    }
    this.#depth = 0
  }

  #begin(group: Address): void {
    this.current = group
    this.table = this.sharesTable ? this.at(0) : group
    const index = this.#indexOf(group)
    if (this.#isTouched[index] !== 0) return
    this.#isTouched[index] = 1
    this.#touched.push(group)
  }

  #indexOf(group: Address): number {
    return this.#context.memory.u32[(group + GroupRecord.offset.index) >> 2]!
  }

  #mutex(group: Address): Mutex {
    const index = this.#indexOf(group)
    this.#mutexes[index] ??= new Mutex(group + LOCK, this.discipline === 'giant' ? GIANT_LOCK : GROUP_LOCK)
    return this.#mutexes[index]
  }

  /** The CPU, by its position among those of the host, that a group is at home on. */
  #homeOf(index: number): number {
    return this.sharesTable ? 0 : index % this.#context.config.cpus.length
  }

  #find(index: number): Address {
    const { length } = this.#context.config.cpus
    const place = this.sharesTable ? index : Math.floor(index / length)
    const block = this.#blockOf(this.#homeOf(index), Math.floor(place / BLOCK_GROUPS))
    const address = recordIn(block, place % BLOCK_GROUPS)
    this.#addresses[index] = address
    return address
  }

  #blockOf(position: number, number: number): Address {
    const cpu = this.#context.config.cpus[position]!
    const block =
      cpu === this.#cpu.index ? this.#blocks[number]! : this.#cpu.names.find(nameOf(this.#context, cpu, number))
    assert(block !== 0, 'a group is entered when all CPUs of the host have their part')
    return block
  }

  /** A block of groups that are all zero, with a secret. */
  #block(): Address {
    const { slab, random, memory } = this.#cpu
    const block = slab.allocate(BLOCK_BYTES)
    memory.u8.fill(0, block + SECRET, block + BLOCK_BYTES)
    for (let i = 0; i < SECRET_WORDS; i++) memory.u32[((block + SECRET) >> 2) + i] = random.next()
    return block
  }
}

function recordIn(block: Address, position: number): Address {
  return block + HEADER_BYTES + position * GroupRecord.size
}

function nameOf(context: NetContext, cpu: number, number: number): string {
  return `${context.portName('tcp groups', cpu)}/${number}`
}
