// The allocator: zones belong to a CPU, and only their CPU takes objects from them. No lock, no atomic on the way.
// A free on another CPU is staged in a chain for the owner and handed over with one compare-and-swap for up to 32
// objects; one passive IPI tells the owner when its list was empty (Seastar, DragonFly: "100x fewer" than one per free).
//
//   zone (256 KiB, aligned): | header 64 B | object | object | ...          an object's zone is its address, masked
//   free object:             | next | FREED | ...
//
// The first two words of an object belong to the slab while it is free: what lies there in use must be the
// machine's own, never bytes from outside, or they could look like a free object.
import { assert } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { type Address, struct, u32 } from '../base/struct.ts'
import { counterSet } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import { POINT } from './handoff.ts'
import { CpuBlock, MachineHeader, ZONE_BYTES } from './layout.ts'

/** Sizes of objects. An allocation takes the smallest that fits. */
export const SLAB_SIZES = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 81920] as const

const Zone = struct({
  owner: u32, //      0
  slabClass: u32, //  4
  objectBytes: u32, // 8
  capacity: u32, //  12
  free: u32, //      16  first free object
  freeCount: u32, // 20  free objects, those never handed out included
  fresh: u32, //     24  objects from here on were never handed out, and are in no list
  next: u32, //      28  the class's zones with free objects
  previous: u32, //  32
  listed: u32, //    36
  pool: u32, //      40  the next recycled zone
})
const ZONE_HEADER = 64
assert(Zone.size <= ZONE_HEADER, 'a zone header is 64 bytes')
const AT = Zone.offset
const FREED = 0xf4eef4ee | 0

const SlabCounters = counterSet('slab', [
  'allocated',
  'freed',
  'freedRemote',
  'freedElsewhere',
  'collections',
  'zonesTaken',
  'zonesRecycled',
  'exhausted',
] as const)
const S = SlabCounters.index

/** Live objects of one size on one CPU. */
export interface SlabReading {
  readonly objectBytes: number
  readonly zones: number
  readonly capacity: number
  readonly live: number
}

interface Chain {
  head: Address
  tail: Address
  count: number
}

export class Slab {
  readonly #cpu: Cpu
  readonly #i32: Int32Array
  readonly #count: Float64Array
  /** Per size: the first zone with free objects. */
  readonly #partial = new Int32Array(SLAB_SIZES.length)
  readonly #zones: Address[][] = SLAB_SIZES.map(() => [])
  readonly #chains: Chain[] = []
  readonly #staged: number[] = []
  readonly #classOf = new Uint8Array((SLAB_SIZES[SLAB_SIZES.length - 1]! >> 6) + 1)

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#i32 = cpu.memory.i32
    this.#count = cpu.counterPage.open(SlabCounters)
    for (let i = 0; i < cpu.memory.layout.cpus; i++) this.#chains.push({ head: 0, tail: 0, count: 0 })
    let slabClass = 0
    for (let i = 0; i < this.#classOf.length; i++) {
      if (i * 64 > SLAB_SIZES[slabClass]!) slabClass++
      this.#classOf[i] = slabClass
    }
  }

  /**
   * An object of at least `bytes` bytes, not cleared.
   * @throws KernelError ENOMEM when the machine's memory is used up; see `tryAllocate`
   */
  allocate(bytes: number): Address {
    const address = this.tryAllocate(bytes)
    if (address === 0) {
      throw new KernelError(Errno.ENOMEM, 'the machine has no zone left: boot it with more memoryBytes', 'allocate')
    }
    return address
  }

  /** As `allocate`, but 0 when there is none: for packets, which are then a counted drop. */
  tryAllocate(bytes: number): Address {
    assert(bytes > 0 && bytes <= 81920, 'a slab object has 1 to 81920 bytes')
    const slabClass = this.#classOf[(bytes + 63) >> 6]!
    const words = this.#i32
    let zone = this.#partial[slabClass]!
    if (zone === 0) {
      this.collect()
      zone = this.#partial[slabClass]!
      if (zone === 0) zone = this.#takeZone(slabClass)
      if (zone === 0) {
        this.#count[S.exhausted]!++
        return 0
      }
    }
    const z = zone >> 2
    let address = words[z + (AT.free >> 2)]!
    if (address !== 0) {
      assert(words[(address >> 2) + 1] === FREED, 'a free object was written to')
      words[z + (AT.free >> 2)] = words[address >> 2]!
    } else {
      // Objects are threaded into the list only when they are first freed: a new zone's pages stay untouched.
      address = words[z + (AT.fresh >> 2)]!
      words[z + (AT.fresh >> 2)] = address + words[z + (AT.objectBytes >> 2)]!
    }
    words[(address >> 2) + 1] = 0
    if (--words[z + (AT.freeCount >> 2)]! === 0) this.#unlist(zone, slabClass)
    this.#count[S.allocated]!++
    return address
  }

  /** Gives an object back, on any CPU. */
  free(address: Address): void {
    const words = this.#i32
    assert(words[(address >> 2) + 1] !== FREED, 'an object was freed twice')
    words[(address >> 2) + 1] = FREED
    const zone = address & -ZONE_BYTES
    const owner = words[zone >> 2]!
    this.#count[S.freed]!++
    if (owner === this.#cpu.index) this.#put(zone, address)
    else this.#stage(owner, address)
  }

  /** Hands staged chains over. Called at the end of each turn. */
  flush(): void {
    const staged = this.#staged
    if (staged.length === 0) return
    for (let i = 0; i < staged.length; i++) this.#handOver(staged[i]!)
    staged.length = 0
  }

  /** Takes in what others freed. Called when a size runs out, and when an IPI says that there is something. */
  collect(): void {
    const words = this.#i32
    const word = (this.#cpu.block + CpuBlock.offset.remoteFree) >> 2
    if (Atomics.load(words, word) === 0) return
    let address = Atomics.exchange(words, word, 0)
    let count = 0
    while (address !== 0) {
      const next = words[address >> 2]!
      this.#put(address & -ZONE_BYTES, address)
      address = next
      count++
    }
    this.#count[S.collections]!++
    this.#count[S.freedElsewhere]! += count
    const record = this.#cpu.handoffs.record(POINT.free, this.#cpu.index)
    this.#cpu.handoffs.dequeued(record, count)
    this.#cpu.handoffs.batch(record, count, false)
  }

  /** What is allocated and not yet back, per size, of this CPU's zones. After `collect` everywhere all `live` are 0 at rest. */
  read(): SlabReading[] {
    const readings: SlabReading[] = []
    this.#zones.forEach((zones, slabClass) => {
      if (zones.length === 0) return
      let capacity = 0
      let free = 0
      for (const zone of zones) {
        capacity += this.#i32[(zone + AT.capacity) >> 2]!
        free += this.#i32[(zone + AT.freeCount) >> 2]!
      }
      readings.push({ objectBytes: SLAB_SIZES[slabClass]!, zones: zones.length, capacity, live: capacity - free })
    })
    return readings
  }

  /** Objects of this CPU's zones that are in use somewhere, or on their way back. */
  get live(): number {
    return this.read().reduce((sum, reading) => sum + reading.live, 0)
  }

  /** Takes zones that are entirely free out of this CPU's lists, but for one of each size. For `recycle`. */
  detachFreeZones(): Address[] {
    this.collect()
    const words = this.#i32
    const detached: Address[] = []
    this.#zones.forEach((zones, slabClass) => {
      for (let i = zones.length - 1; i > 0; i--) {
        const zone = zones[i]!
        if (words[(zone + AT.freeCount) >> 2] !== words[(zone + AT.capacity) >> 2]) continue
        this.#unlist(zone, slabClass)
        zones.splice(i, 1)
        detached.push(zone)
      }
    })
    return detached
  }

  /**
   * Puts detached zones where any CPU may take them. Only inside a cpusync: nobody is then in the middle of taking
   * one, so that the compare-and-swap there cannot be fooled by a zone that left and came back.
   */
  returnZones(zones: readonly Address[]): void {
    const words = this.#i32
    const pool = (this.#cpu.memory.layout.header + MachineHeader.offset.zonePool) >> 2
    for (const zone of zones) {
      words[(zone + AT.pool) >> 2] = Atomics.load(words, pool)
      Atomics.store(words, pool, zone)
    }
    this.#count[S.zonesRecycled]! += zones.length
  }

  #put(zone: Address, address: Address): void {
    const words = this.#i32
    const z = zone >> 2
    words[address >> 2] = words[z + (AT.free >> 2)]!
    words[z + (AT.free >> 2)] = address
    if (words[z + (AT.freeCount >> 2)]!++ === 0) this.#list(zone, words[z + (AT.slabClass >> 2)]!)
  }

  #stage(owner: number, address: Address): void {
    const chain = this.#chains[owner]!
    this.#count[S.freedRemote]!++
    this.#i32[address >> 2] = chain.head
    if (chain.count === 0) {
      chain.tail = address
      this.#staged.push(owner)
    }
    chain.head = address
    if (++chain.count >= Limits.freeBatch) {
      this.#handOver(owner)
      this.#staged.splice(this.#staged.indexOf(owner), 1)
    }
  }

  #handOver(owner: number): void {
    const chain = this.#chains[owner]!
    const words = this.#i32
    const word = (this.#cpu.memory.layout.cpuBlock(owner) + CpuBlock.offset.remoteFree) >> 2
    let first: number
    do {
      first = Atomics.load(words, word)
      words[chain.tail >> 2] = first
    } while (Atomics.compareExchange(words, word, first, chain.head) !== first)
    // The owner cannot tell who freed what, so the hand-off is counted as one with itself: see `collect`.
    this.#cpu.handoffs.enqueued(this.#cpu.handoffs.record(POINT.free, owner), chain.count)
    chain.head = 0
    chain.tail = 0
    chain.count = 0
    if (first === 0) this.#cpu.ipi.sendPassive(owner, COLLECT)
  }

  #takeZone(slabClass: number): Address {
    const words = this.#i32
    const { layout } = this.#cpu.memory
    const pool = (layout.header + MachineHeader.offset.zonePool) >> 2
    let zone = Atomics.load(words, pool)
    while (zone !== 0) {
      const seen = Atomics.compareExchange(words, pool, zone, words[(zone + AT.pool) >> 2]!)
      if (seen === zone) break
      zone = seen
    }
    if (zone === 0) {
      const next = (layout.header + MachineHeader.offset.zoneNext) >> 2
      const index = Atomics.add(words, next, 1)
      if (index >= layout.zoneCount) {
        Atomics.sub(words, next, 1)
        return 0
      }
      zone = layout.zones + index * ZONE_BYTES
    }
    const objectBytes = SLAB_SIZES[slabClass]!
    // Objects of a page or more begin on a line all the same; the header takes the room before the first.
    const capacity = Math.floor((ZONE_BYTES - ZONE_HEADER) / objectBytes)
    const z = zone >> 2
    words[z + (AT.owner >> 2)] = this.#cpu.index
    words[z + (AT.slabClass >> 2)] = slabClass
    words[z + (AT.objectBytes >> 2)] = objectBytes
    words[z + (AT.capacity >> 2)] = capacity
    words[z + (AT.free >> 2)] = 0
    words[z + (AT.freeCount >> 2)] = capacity
    words[z + (AT.fresh >> 2)] = zone + ZONE_HEADER
    words[z + (AT.listed >> 2)] = 0
    this.#zones[slabClass]!.push(zone)
    this.#list(zone, slabClass)
    this.#count[S.zonesTaken]!++
    return zone
  }

  #list(zone: Address, slabClass: number): void {
    const words = this.#i32
    const first = this.#partial[slabClass]!
    words[(zone + AT.next) >> 2] = first
    words[(zone + AT.previous) >> 2] = 0
    words[(zone + AT.listed) >> 2] = 1
    if (first !== 0) words[(first + AT.previous) >> 2] = zone
    this.#partial[slabClass] = zone
  }

  #unlist(zone: Address, slabClass: number): void {
    const words = this.#i32
    if (words[(zone + AT.listed) >> 2] === 0) return
    const next = words[(zone + AT.next) >> 2]!
    const previous = words[(zone + AT.previous) >> 2]!
    if (previous === 0) this.#partial[slabClass] = next
    else words[(previous + AT.next) >> 2] = next
    if (next !== 0) words[(next + AT.previous) >> 2] = previous
    words[(zone + AT.listed) >> 2] = 0
  }
}

const COLLECT = define('slab.collect', (cpu) => cpu.slab.collect())

/** The slab's balance over a machine: `allocated = freed + live` must hold when no chain is on its way. */
export { SlabCounters }
