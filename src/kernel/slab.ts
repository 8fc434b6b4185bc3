// The allocator: zones belong to a CPU, and only their CPU takes objects from them. No lock, no atomic on the way.
// A free on another CPU is staged for the owner and handed over with one compare-and-swap for up to 14 objects; one
// passive IPI tells the owner when its list was empty (Seastar, DragonFly: "100x fewer" than one per free).
//
// In front of the zones each size has a magazine (Bonwick and Adams, 2001) of free addresses: allocating and freeing
// touch no object then, whose line may be in another CPU's cache.
//
//   zone (256 KiB, aligned): | header 64 B | object | object | ...          an object's zone is its address, masked
//   free object:             | next | FREED | ...
//   first object of a batch: | next batch | FREED | count | up to 13 addresses |
//
// The first object of a batch lists the others, instead of each linking to the next: the owner would have to fetch one
// line after the other out of the freeing CPU's cache to follow such a chain; from a list it fetches them all at once.
//
// The first two words of an object belong to the slab while it is free: what lies there in use must be the
// machine's own, never bytes from outside, or they could look like a free object.
import { assert } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
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
const ZONE_MASK = -ZONE_BYTES
assert(Zone.size <= ZONE_HEADER, 'a zone header is 64 bytes')
const AT = Zone.offset
// Constants of this module, because the compiler folds those (see port.ts).
const SLAB_CLASS = AT.slabClass >> 2
const OBJECT_BYTES = AT.objectBytes >> 2
const FREE = AT.free >> 2
const FREE_COUNT = AT.freeCount >> 2
const FRESH = AT.fresh >> 2
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
  /** Of those that are free: how many the magazine in front of the zones has. */
  readonly magazine: number
}

/** Addresses that a magazine holds; what is beyond goes back to its zone. */
const MAGAZINE = 2048
/** Objects that an empty magazine takes from its zones at a time. */
const REFILL = 32
/** Addresses that fit into the smallest object behind its first three words. */
const LISTED = 13

/** Objects freed here that belong to another CPU, not yet handed over: a first one, and those that it lists. */
interface Batch {
  first: Address
  listed: number
  /** Its owner is in the list of those that `flush` looks after. */
  onList: boolean
}

/**
 * Free addresses. What this CPU freed last is allocated next, for it is in the cache. What others freed is allocated in
 * the order in which it came back, which in a steady stream is the order of the addresses: the processor's prefetcher
 * then runs ahead, where a stack would jump about (bench/message.ts).
 */
class Magazine {
  readonly #items: Int32Array
  /** Places of the first address, and behind the last: both go on without end, as 32-bit numbers. */
  #top = 0
  #bottom = 0
  /** What `#top` was when `taken` was asked last. */
  #topTaken = 0

  constructor(items: Int32Array) {
    this.#items = items
  }

  get count(): number {
    return (this.#bottom - this.#top) | 0
  }

  get isEmpty(): boolean {
    return this.#bottom === this.#top
  }

  pop(): Address {
    const address = this.#items[this.#top & (MAGAZINE - 1)]!
    this.#top = (this.#top + 1) | 0
    return address
  }

  pushTop(address: Address): void {
    this.#top = (this.#top - 1) | 0
    this.#items[this.#top & (MAGAZINE - 1)] = address
  }

  pushBottom(address: Address): void {
    this.#items[this.#bottom & (MAGAZINE - 1)] = address
    this.#bottom = (this.#bottom + 1) | 0
  }

  /** How many more were taken from the top than put there, since this was asked last. */
  taken(): number {
    const taken = (this.#top - this.#topTaken) | 0
    this.#topTaken = this.#top
    return taken
  }
}

export class Slab {
  readonly #cpu: Cpu
  readonly #index: number
  readonly #i32: Int32Array
  readonly #count: Float64Array
  /** Since the last fold: what was freed, and how much of that did not go to the top of a magazine, or was taken from there but not allocated. */
  readonly #tally = { freed: 0, aside: 0 }
  readonly #magazines: readonly Magazine[]
  /** Per size: the first zone with free objects. */
  readonly #partial = new Int32Array(SLAB_SIZES.length)
  readonly #zones: Address[][] = SLAB_SIZES.map(() => [])
  readonly #batches: Batch[] = []
  /** Scratch of `collect`. */
  readonly #firsts: number[] = []
  readonly #staged: Int32Array
  #stagedCount = 0
  readonly #classOf = new Uint8Array((SLAB_SIZES[SLAB_SIZES.length - 1]! >> 6) + 1)

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#index = cpu.index
    this.#i32 = cpu.memory.i32
    this.#count = cpu.counterPage.open(SlabCounters)
    cpu.counterPage.addFold(() => this.#fold())
    // One array for all: to allocate it outside of V8's heap costs more than to clear it.
    const items = new Int32Array(SLAB_SIZES.length * MAGAZINE)
    this.#magazines = SLAB_SIZES.map((_, i) => new Magazine(items.subarray(i * MAGAZINE, (i + 1) * MAGAZINE)))
    this.#staged = new Int32Array(cpu.memory.layout.cpus)
    for (let i = 0; i < cpu.memory.layout.cpus; i++) this.#batches.push({ first: 0, listed: 0, onList: false })
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
    const magazine = this.#magazines[slabClass]!
    if (magazine.isEmpty && !this.#fill(magazine, slabClass)) return this.refuse()
    const address = magazine.pop()
    this.#i32[(address >> 2) + 1] = 0
    return address
  }

  /** Gives nothing: that is counted, and zones are asked for. For `tryAllocate`, and for a simulation in which it fails. */
  refuse(): Address {
    this.#count[S.exhausted]!++
    this.#cpu.recycler.shortage()
    return 0
  }

  /**
   * Writes down what was counted. What was allocated follows from where the magazines' tops are now, and from what was put
   * there meanwhile: it is not counted by itself.
   */
  #fold(): void {
    const tally = this.#tally
    let taken = 0
    for (let i = 0; i < this.#magazines.length; i++) taken += this.#magazines[i]!.taken()
    this.#count[S.allocated]! += taken + tally.freed - tally.aside
    this.#count[S.freed]! += tally.freed
    tally.freed = 0
    tally.aside = 0
  }

  /** Gives an object back, on any CPU. */
  free(address: Address): void {
    const words = this.#i32
    assert(words[(address >> 2) + 1] !== FREED, 'an object was freed twice')
    words[(address >> 2) + 1] = FREED
    const zone = address & ZONE_MASK
    const owner = words[zone >> 2]!
    if (owner === this.#index) {
      this.#tally.freed++
      this.#put(address, words[(zone >> 2) + SLAB_CLASS]!)
    } else this.#stage(owner, address)
  }

  /** Hands staged frees over. Called at the end of each turn. */
  flush(): void {
    // One by one from the end: handing over may wait for a ring, and functions that run meanwhile may stage more.
    while (this.#stagedCount > 0) {
      const owner = this.#staged[--this.#stagedCount]!
      this.#batches[owner]!.onList = false
      this.#handOver(owner)
    }
  }

  /** Takes in what others freed. Called when a size runs out, and when an IPI says that there is something. */
  collect(): void {
    const words = this.#i32
    const word = (this.#cpu.block + CpuBlock.offset.remoteFree) >> 2
    if (Atomics.load(words, word) === 0) return
    // The list has the last batch first: it is turned round, so that objects come back in the order of their freeing.
    let batches = 0
    for (let first = Atomics.exchange(words, word, 0); first !== 0; first = words[first >> 2]!) {
      if (batches === this.#firsts.length) this.#firsts.push(0)
      this.#firsts[batches++] = first
    }
    let count = 0
    for (let i = batches - 1; i >= 0; i--) {
      const first = this.#firsts[i]!
      const listed = words[(first >> 2) + 2]!
      this.#takeBack(first)
      for (let k = 0; k < listed; k++) this.#takeBack(words[(first >> 2) + 3 + k]!)
      count += listed + 1
    }
    this.#count[S.collections]!++
    this.#count[S.freedElsewhere]! += count
    // From whom each came is not known, nor since when it waits: its bytes are whoever's who had it.
    const record = this.#cpu.handoffs.record(POINT.free, this.#cpu.index)
    this.#cpu.handoffs.depth(record, count)
    this.#cpu.handoffs.served(record, count, false)
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
      const magazine = this.#magazines[slabClass]!.count
      free += magazine
      readings.push({
        objectBytes: SLAB_SIZES[slabClass]!,
        zones: zones.length,
        capacity,
        live: capacity - free,
        magazine,
      })
    })
    return readings
  }

  /** Objects of this CPU's zones that are in use somewhere, or on their way back. Exact after `flush` on every CPU. */
  get live(): number {
    this.#cpu.counterPage.fold()
    const count = this.#count
    return count[S.allocated]! - count[S.freedElsewhere]! - (count[S.freed]! - count[S.freedRemote]!)
  }

  /** Takes zones that are entirely free out of this CPU's lists, but for one of each size. For `recycle`. */
  detachFreeZones(): Address[] {
    this.collect()
    const words = this.#i32
    const detached: Address[] = []
    for (const magazine of this.#magazines) {
      this.#tally.aside += magazine.count
      while (!magazine.isEmpty) this.#putInZone(magazine.pop())
    }
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
   * Puts detached zones where any CPU may take them. Only by the CPU that holds all others, before it releases them:
   * nobody is then in the middle of taking one, so that the compare-and-swap there cannot be fooled by a zone that left and came back.
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

  #put(address: Address, slabClass: number): void {
    const magazine = this.#magazines[slabClass]!
    if (magazine.count < MAGAZINE) magazine.pushTop(address)
    else {
      this.#tally.aside++
      this.#putInZone(address)
    }
  }

  /** An object that another CPU freed is back. */
  #takeBack(address: Address): void {
    const magazine = this.#magazines[this.#i32[((address & ZONE_MASK) >> 2) + SLAB_CLASS]!]!
    if (magazine.count < MAGAZINE) magazine.pushBottom(address)
    else this.#putInZone(address)
  }

  #putInZone(address: Address): void {
    const words = this.#i32
    const zone = address & ZONE_MASK
    const z = zone >> 2
    words[address >> 2] = words[z + FREE]!
    // One that a magazine had taken fresh was never freed.
    words[(address >> 2) + 1] = FREED
    words[z + FREE] = address
    if (words[z + FREE_COUNT]!++ === 0) this.#list(zone, words[z + SLAB_CLASS]!)
  }

  /** Fills an empty magazine: from what others freed, else from a zone. Returns false when there is nothing left. */
  #fill(magazine: Magazine, slabClass: number): boolean {
    this.collect()
    if (magazine.count > 0) return true
    let zone = this.#partial[slabClass]!
    if (zone === 0) zone = this.#takeZone(slabClass)
    if (zone === 0) return false
    const words = this.#i32
    const z = zone >> 2
    while (magazine.count < REFILL && words[z + FREE_COUNT]! > 0) {
      let address = words[z + FREE]!
      if (address !== 0) {
        assert(words[(address >> 2) + 1] === FREED, 'a free object was written to')
        words[z + FREE] = words[address >> 2]!
      } else {
        // Objects are threaded into the list only when they come back: a new zone's pages stay untouched.
        address = words[z + FRESH]!
        words[z + FRESH] = address + words[z + OBJECT_BYTES]!
      }
      words[z + FREE_COUNT]!--
      magazine.pushBottom(address)
    }
    if (words[z + FREE_COUNT] === 0) this.#unlist(zone, slabClass)
    return true
  }

  #stage(owner: number, address: Address): void {
    const batch = this.#batches[owner]!
    if (batch.first === 0) {
      batch.first = address
      batch.listed = 0
      if (!batch.onList) this.#staged[this.#stagedCount++] = owner
      batch.onList = true
      return
    }
    this.#i32[(batch.first >> 2) + 3 + batch.listed++] = address
    if (batch.listed === LISTED) this.#handOver(owner)
  }

  #handOver(owner: number): void {
    const batch = this.#batches[owner]!
    const { first: address, listed } = batch
    if (address === 0) return
    batch.first = 0
    this.#tally.freed += listed + 1
    this.#tally.aside += listed + 1
    this.#count[S.freedRemote]! += listed + 1
    const words = this.#i32
    const word = (this.#cpu.memory.layout.cpuBlock(owner) + CpuBlock.offset.remoteFree) >> 2
    words[(address >> 2) + 2] = listed
    let head: number
    do {
      head = Atomics.load(words, word)
      words[address >> 2] = head
    } while (Atomics.compareExchange(words, word, head, address) !== head)
    // The owner cannot tell who freed what, so it counts what it collects as coming from itself.
    this.#cpu.handoffs.enqueued(this.#cpu.handoffs.record(POINT.free, owner), listed + 1)
    if (head === 0) this.#cpu.ipi.sendPassive(owner, COLLECT)
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
    words[z + SLAB_CLASS] = slabClass
    words[z + OBJECT_BYTES] = objectBytes
    words[z + (AT.capacity >> 2)] = capacity
    words[z + FREE] = 0
    words[z + FREE_COUNT] = capacity
    words[z + FRESH] = zone + ZONE_HEADER
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

/** The slab's balance over a machine: `allocated = freed + live` must hold when nothing is on its way. */
export { SlabCounters }
