// The table of a connection group: every connection, embryo and TIME-WAIT by its tuple, in the machine's memory. It grows by
// linear hashing (Litwin, 1980): each insertion beyond the load splits one bucket, so that no packet ever waits for a
// rehash of the whole. The hash is keyed, so that nobody outside chooses who shares a bucket.
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import { addressBytes, type Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { TcpTuple, type Tuple } from './pcb.ts'

/** Buckets come in chunks, so that none has to be moved: 4096 words, one object of the slab. */
const CHUNK_BITS = 12
const CHUNK = 1 << CHUNK_BITS
const CHUNK_BYTES = CHUNK * 4
const BUCKETS_MAX = 1 << 18
const BUCKETS_MIN = 64
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
  readonly #chunks: Address[] = []
  readonly #key0: number
  readonly #key1: number
  #buckets = BUCKETS_MIN
  /** Buckets below `#split` of this round have been split: addresses have one bit more there. */
  #mask = BUCKETS_MIN - 1
  #count = 0

  constructor(context: NetContext) {
    const { cpu, memory } = context
    this.#context = context
    this.#words = memory.u32
    this.#view = memory.view
    this.#u8 = memory.u8
    this.#key0 = cpu.random.below(0x7fffffff)
    this.#key1 = cpu.random.below(0x7fffffff)
    this.#chunk(0)
    cpu.onStop(() => {
      for (const chunk of this.#chunks) cpu.slab.free(chunk)
    })
  }

  get size(): number {
    return this.#count
  }

  /** A keyed mix of the tuple, 32 bits, signed. */
  hash(family: Family, local: Address, localPort: number, remote: Address, remotePort: number): number {
    const view = this.#view
    let h = Math.imul(((localPort << 16) | remotePort) ^ this.#key0, 0x9e3779b1)
    for (let i = 0; i < addressBytes(family); i += 4) {
      h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(remote + i), 0x85ebca6b)
      h = Math.imul(h ^ (h >>> 13) ^ view.getInt32(local + i) ^ this.#key1, 0xc2b2ae35)
    }
    // Odd, so that it is never what the slab knows a free object by.
    return (h ^ (h >>> 16)) | 1
  }

  /** The record of a tuple, or 0. */
  lookup(family: Family, local: Address, localPort: number, remote: Address, remotePort: number): Address {
    const words = this.#words
    const hash = this.hash(family, local, localPort, remote, remotePort)
    const ports = (remotePort << 16) | localPort
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
    const bucket = this.#bucket(hash)
    tuple.next = words[bucket]!
    words[bucket] = tuple.at
    if (++this.#count > this.#buckets) this.#grow()
  }

  remove(record: Address): void {
    const words = this.#words
    let place = this.#bucket(words[(record >> 2) + HASH]! | 0)
    while (words[place] !== record) {
      assert(words[place] !== 0, 'a record that is removed is in the table')
      place = (words[place]! >> 2) + NEXT
    }
    words[place] = words[(record >> 2) + NEXT]!
    this.#count--
  }

  /** Another record of the same tuple takes the place of one. */
  replace(record: Address, by: Tuple): void {
    this.remove(record)
    this.insert(by)
  }

  /** Calls `each` with every record; it may remove the one that it is given. */
  forEach(each: (record: Address) => void): void {
    const words = this.#words
    for (let bucket = 0; bucket < this.#buckets; bucket++) {
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
    let bucket = bits & ((this.#mask << 1) | 1)
    if (bucket >= this.#buckets) bucket &= this.#mask
    return this.#place(bucket)
  }

  #place(bucket: number): number {
    return (this.#chunks[bucket >>> CHUNK_BITS]! >> 2) + (bucket & (CHUNK - 1))
  }

  /** Splits the next bucket into itself and a new one. */
  #grow(): void {
    if (this.#buckets === BUCKETS_MAX) return
    const added = this.#buckets
    if ((added & (CHUNK - 1)) === 0 && !this.#chunk(added >>> CHUNK_BITS)) return
    const words = this.#words
    if (added > this.#mask * 2 + 1) this.#mask = this.#mask * 2 + 1
    const old = this.#place(added & this.#mask)
    const fresh = this.#place(added)
    this.#buckets++
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

  #chunk(index: number): boolean {
    const { cpu, memory } = this.#context
    // The first words of an object belong to the slab only while it is free: here they are addresses of the machine's own.
    const chunk = index === 0 ? cpu.slab.allocate(CHUNK_BYTES) : cpu.slab.tryAllocate(CHUNK_BYTES)
    if (chunk === 0) return false
    memory.u8.fill(0, chunk, chunk + CHUNK_BYTES)
    this.#chunks[index] = chunk
    return true
  }
}
