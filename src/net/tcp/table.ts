// The table of a connection group: every connection, embryo and TIME-WAIT by its tuple, in the machine's memory. It grows by
// linear hashing (Litwin, 1980): each insertion beyond the load splits one bucket, so that no packet ever waits for a
// rehash of the whole. The hash is keyed, so that nobody outside chooses who shares a bucket.
import { assert } from '../../base/assert.ts'
import { Errno, KernelError } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { lockClass } from '../../kernel/lock.ts'
import { Rwlock } from '../../kernel/rwlock.ts'
import { addressBytes, type Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import type { Groups } from './group.ts'
import { CHUNKS_MAX, GroupRecord, type GroupSet } from './groupset.ts'
import { TcpTuple, type Tuple } from './pcb.ts'

/** Buckets come in chunks, so that none has to be moved: 4096 words, one object of the slab. */
const CHUNK_BITS = 12
const CHUNK = 1 << CHUNK_BITS
const CHUNK_BYTES = CHUNK * 4
const BUCKETS_MAX = CHUNK * CHUNKS_MAX
const BUCKETS_MIN = 64
const KEY0 = GroupRecord.offset.key0 >> 2
const KEY1 = GroupRecord.offset.key1 >> 2
const BUCKETS = GroupRecord.offset.buckets >> 2
const MASK = GroupRecord.offset.mask >> 2
const COUNT = GroupRecord.offset.count >> 2
const CHUNKS = GroupRecord.offset.chunks >> 2
const TABLE_LOCK = GroupRecord.offset.tableLock
const TABLE = lockClass('tcp table')
const GROUP = TcpTuple.offset.group >> 2
const NEXT = TcpTuple.offset.next >> 2
const HASH = TcpTuple.offset.hash >> 2
const LOCAL = TcpTuple.offset.local
const REMOTE = TcpTuple.offset.remote
/** Both ports: one word, local first in memory, so on little-endian machines its lower half. */
const PORTS = TcpTuple.offset.localPort >> 2
/** Family and kind: the family is the lowest byte. */
const FAMILY = TcpTuple.offset.family

export class TcpTable {
  readonly #context: NetContext
  readonly #words: Uint32Array
  readonly #view: DataView
  readonly #u8: Uint8Array
  readonly #groups: Groups
  #shared: Rwlock | undefined

  constructor(context: NetContext, groups: Groups) {
    const { cpu, memory } = context
    this.#context = context
    this.#groups = groups
    this.#words = memory.u32
    this.#view = memory.view
    this.#u8 = memory.u8
    this.open(groups.set)
    cpu.onStop(() => this.close(groups.set))
  }

  /** Makes the tables of a set's groups that are at home here. @throws KernelError ENOMEM, and nothing is left of them */
  open(set: GroupSet): void {
    const { random } = this.#context.cpu
    for (const group of set.homeTables) {
      const g = group >> 2
      this.#words[g + KEY0] = random.below(0x7fffffff)
      this.#words[g + KEY1] = random.below(0x7fffffff)
      this.#words[g + BUCKETS] = BUCKETS_MIN
      this.#words[g + MASK] = BUCKETS_MIN - 1
      if (this.#chunk(g, 0)) continue
      this.close(set)
      throw new KernelError(
        Errno.ENOMEM,
        `no memory for the tables of ${set.count} groups: ask for fewer, or boot with more memoryBytes`,
      )
    }
  }

  /** Frees them. What is in them is somebody else's affair. */
  close(set: GroupSet): void {
    for (const group of set.homeTables) this.#free(group >> 2)
  }

  get size(): number {
    return this.#words[this.#group + COUNT]!
  }

  /** The index among words of the record of the group that this CPU is in. */
  get #group(): number {
    return this.#groups.table >> 2
  }

  /** Of a table that groups share. */
  #lock(): Rwlock | undefined {
    if (!this.#groups.sharesTable) return undefined
    const place = this.#groups.table + TABLE_LOCK
    if (this.#shared?.address !== place) this.#shared = new Rwlock(place, TABLE)
    return this.#shared
  }

  #free(g: number): void {
    for (let i = 0; i < CHUNKS_MAX; i++) {
      const chunk = this.#words[g + CHUNKS + i]!
      if (chunk !== 0) this.#context.cpu.slab.free(chunk)
      this.#words[g + CHUNKS + i] = 0
    }
  }

  /** A keyed mix of the tuple, 32 bits, signed. */
  hash(family: Family, local: Address, localPort: number, remote: Address, remotePort: number): number {
    const view = this.#view
    const g = this.#group
    const key1 = this.#words[g + KEY1]!
    let h = Math.imul(((localPort << 16) | remotePort) ^ this.#words[g + KEY0]!, 0x9e3779b1)
    for (let i = 0; i < addressBytes(family); i += 4) {
      h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(remote + i), 0x85ebca6b)
      h = Math.imul(h ^ (h >>> 13) ^ view.getInt32(local + i) ^ key1, 0xc2b2ae35)
    }
    // Odd, so that it is never what the slab knows a free object by.
    return (h ^ (h >>> 16)) | 1
  }

  /** The record of a tuple, or 0. */
  lookup(family: Family, local: Address, localPort: number, remote: Address, remotePort: number): Address {
    const hash = this.hash(family, local, localPort, remote, remotePort)
    const ports = (remotePort << 16) | localPort
    if (!this.#groups.sharesTable) return this.#find(family, hash, ports, local, remote)
    const lock = this.#lock()!
    lock.enterRead(this.#context.cpu)
    const record = this.#find(family, hash, ports, local, remote)
    lock.leaveRead(this.#context.cpu)
    return record
  }

  #find(family: Family, hash: number, ports: number, local: Address, remote: Address): Address {
    const words = this.#words
    for (let record = words[this.#bucket(hash)]!; record !== 0; record = words[(record >> 2) + NEXT]!) {
      const w = record >> 2
      if ((words[w + HASH]! | 0) !== hash || (words[w + PORTS]! | 0) !== ports) continue
      if (this.#same(family, record, local, remote)) return record
    }
    return 0
  }

  /** Puts a record whose tuple is filled in. */
  insert(tuple: Tuple): void {
    const words = this.#words
    const hash = this.hash(tuple.family as Family, tuple.local, tuple.localPort, tuple.remote, tuple.remotePort)
    words[(tuple.at >> 2) + HASH] = hash
    this.#lock()?.enterWrite(this.#context.cpu)
    const bucket = this.#bucket(hash)
    tuple.next = words[bucket]!
    words[bucket] = tuple.at
    const g = this.#group
    if (++words[g + COUNT]! > words[g + BUCKETS]!) this.#grow()
    this.#lock()?.leaveWrite(this.#context.cpu)
  }

  remove(record: Address): void {
    const words = this.#words
    this.#lock()?.enterWrite(this.#context.cpu)
    let place = this.#bucket(words[(record >> 2) + HASH]! | 0)
    while (words[place] !== record) {
      assert(words[place] !== 0, 'a record that is removed is in the table')
      place = (words[place]! >> 2) + NEXT
    }
    words[place] = words[(record >> 2) + NEXT]!
    words[this.#group + COUNT]!--
    this.#lock()?.leaveWrite(this.#context.cpu)
  }

  /** Calls `each` with every record of the group that this CPU is in; it may remove the one that it is given. */
  forEach(each: (record: Address) => void): void {
    if (!this.#groups.sharesTable) return this.#forAll(each)
    // Those of this group stay: nobody else is inside. The others' may go as soon as the lock is left.
    const mine: Address[] = []
    this.#lock()!.enterRead(this.#context.cpu)
    this.#forAll((record) => {
      if (this.#words[(record >> 2) + GROUP] === this.#groups.current) mine.push(record)
    })
    this.#lock()!.leaveRead(this.#context.cpu)
    mine.forEach(each)
  }

  /** As `forEach`, of all groups that share the table of the one that this CPU is in: for whoever holds all other CPUs. */
  forAll(each: (record: Address) => void): void {
    this.#forAll(each)
  }

  #forAll(each: (record: Address) => void): void {
    const words = this.#words
    for (let bucket = 0; bucket < words[this.#group + BUCKETS]!; bucket++) {
      let record = words[this.#place(bucket)]!
      while (record !== 0) {
        const next = words[(record >> 2) + NEXT]!
        each(record)
        record = next
      }
    }
  }

  #same(family: Family, record: Address, local: Address, remote: Address): boolean {
    const view = this.#view
    if (this.#u8[record + FAMILY] !== family) return false
    for (let i = 0; i < addressBytes(family); i += 4) {
      if (view.getInt32(record + REMOTE + i) !== view.getInt32(remote + i)) return false
      if (view.getInt32(record + LOCAL + i) !== view.getInt32(local + i)) return false
    }
    return true
  }

  /** The index among words of the bucket of a hash. */
  #bucket(hash: number): number {
    const bits = hash >>> 1
    const g = this.#group
    // Buckets that have been split already in this round have one bit more.
    const mask = this.#words[g + MASK]!
    let bucket = bits & ((mask << 1) | 1)
    if (bucket >= this.#words[g + BUCKETS]!) bucket &= mask
    return this.#place(bucket)
  }

  #place(bucket: number): number {
    return (this.#words[this.#group + CHUNKS + (bucket >>> CHUNK_BITS)]! >> 2) + (bucket & (CHUNK - 1))
  }

  /** Splits the next bucket into itself and a new one. */
  #grow(): void {
    const words = this.#words
    const g = this.#group
    const added = words[g + BUCKETS]!
    if (added === BUCKETS_MAX) return
    if ((added & (CHUNK - 1)) === 0 && !this.#chunk(g, added >>> CHUNK_BITS)) return
    const mask = words[g + MASK]!
    if (added > mask * 2 + 1) words[g + MASK] = mask * 2 + 1
    const old = this.#place(added & words[g + MASK]!)
    const fresh = this.#place(added)
    words[g + BUCKETS] = added + 1
    let record = words[old]!
    words[old] = 0
    words[fresh] = 0
    while (record !== 0) {
      const next = words[(record >> 2) + NEXT]!
      const place = this.#bucket(words[(record >> 2) + HASH]! | 0)
      words[(record >> 2) + NEXT] = words[place]!
      words[place] = record
      record = next
    }
  }

  #chunk(g: number, index: number): boolean {
    const { cpu, memory } = this.#context
    // The first words of an object belong to the slab only while it is free: here they are addresses of the machine's own.
    const chunk = cpu.slab.tryAllocate(CHUNK_BYTES)
    if (chunk === 0) return false
    memory.u8.fill(0, chunk, chunk + CHUNK_BYTES)
    this.#words[g + CHUNKS + index] = chunk
    return true
  }
}
