// The route table as a rival: one for all CPUs, in the machine's memory, under a reader-writer lock, where the stack has a
// replica on each CPU that is changed by messages (net/route/table.ts: read it first, for the trie is the same).
//
//   table (128)  | lock, alone on its line 64 | roots, free steps, pages 64 |
//   step  (16)   | child 0 | child 1 | bit | node |     what a lookup goes down by, in pages of 4 KiB
//   node  (64)   | step, parent, length, route | prefix 16 | gateway 16 | source 16 |
//
// What a lookup finds is copied out under the lock: a moment later the node may be another's.
import { assert } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import { type Address, u8 as byte, bytes, i32, struct, u16, u32 } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { lockClass, lockSite } from '../../kernel/lock.ts'
import { Rwlock } from '../../kernel/rwlock.ts'
import { addressBytes, Family, type Prefix } from '../../net/address.ts'
import type { Route } from '../../net/route/table.ts'
import { allocateCleared, publish, published, unpublish } from './shared.ts'

const LOCK = lockClass('rival routes')
const LOOKUP = lockSite('route lookup')
const CHANGE = lockSite('route change')

const Table = struct({
  lock: i32, //        0
  alone: bytes(60),
  inet: u32, //       64  the root of the one trie
  inet6: u32, //      68  and of the other
  count: u32, //      72  routes
  freeStep: u32, //   76  steps that nobody uses, linked by their first word
  page: u32, //       80  pages of steps, linked by their first word
  padding: bytes(44),
})
assert(Table.size === 128, 'the lock is alone on its cache line')

const Node = struct({
  step: u32, //           0
  parent: u32, //         4
  length: byte, //        8  of the prefix, in bits
  family: byte, //        9
  flags: u16, //         10
  interfaceIndex: u32, // 12
  bytes: bytes(16), //   16
  gateway: bytes(16), // 32
  source: bytes(16), //  48
})
assert(Node.size === 64, 'a node is one cache line')

const Flag = { ROUTE: 1, GATEWAY: 2, SOURCE: 4 } as const

const STEP_BYTES = 16
const ZERO = 0
const ONE = 1
const BIT = 2
const NODE = 3
const PAGE_BYTES = 4096

/** One CPU's handle to the table that all share. */
export class LockedRoutes {
  readonly #cpu: Cpu
  readonly #name: string
  readonly #u8: Uint8Array
  readonly #u32: Uint32Array
  readonly #lock: Rwlock
  readonly #table
  readonly #node
  /** 32 bytes of this handle: a prefix on its way in, and the gateway that a lookup found. */
  readonly #scratch: Address
  /** Of the route that the last lookup found. */
  interfaceIndex = 0
  /** Where its gateway's bytes are, as long as nothing else is looked up; 0 where it has none. */
  gateway: Address = 0

  private constructor(cpu: Cpu, name: string, address: Address) {
    this.#cpu = cpu
    this.#name = name
    this.#u8 = cpu.memory.u8
    this.#u32 = cpu.memory.u32
    this.#lock = new Rwlock(address, LOCK)
    this.#table = Table.cursor(cpu.memory)
    this.#table.at = address
    this.#node = Node.cursor(cpu.memory)
    this.#scratch = allocateCleared(cpu, 64) + 16
  }

  /** Makes the table, by one CPU. @throws KernelError EEXIST, ENOMEM */
  static create(cpu: Cpu, name: string): LockedRoutes {
    const address = allocateCleared(cpu, Table.size)
    const routes = new LockedRoutes(cpu, name, address)
    routes.#table.inet = routes.#makeRoot(Family.inet)
    routes.#table.inet6 = routes.#makeRoot(Family.inet6)
    publish(cpu, name, address)
    return routes
  }

  /** A handle to the table that another CPU has made. */
  static attach(cpu: Cpu, name: string): LockedRoutes {
    return new LockedRoutes(cpu, name, published(cpu, name))
  }

  /** Gives up this handle. */
  detach(): void {
    this.#cpu.slab.free(this.#scratch - 16)
  }

  /** Gives up this handle, the last one, and the table. */
  free(): void {
    const { slab } = this.#cpu
    const t = this.#table
    unpublish(this.#cpu, this.#name)
    for (const root of [t.inet, t.inet6]) this.#freeBelow(root)
    for (let page = t.page; page !== 0; ) {
      const next = this.#u32[page >> 2]!
      slab.free(page)
      page = next
    }
    slab.free(t.at)
    this.detach()
  }

  /** How many routes there are. */
  get count(): number {
    return this.#table.count
  }

  /** Finds the route with the longest prefix of the address at `address`; false where there is none. Allocates nothing. */
  lookup(family: Family, address: Address): boolean {
    this.#lock.enterRead(this.#cpu, LOOKUP)
    const node = this.#match(family, address)
    if (node !== 0) this.#copyOut(node)
    this.#lock.leaveRead(this.#cpu)
    return node !== 0
  }

  /** Adds a route. Returns 0, EEXIST where the prefix has one, or ENOBUFS where there is no memory. */
  insert(route: Route): number {
    this.#lock.enterWrite(this.#cpu, CHANGE)
    const errno = this.#insert(route)
    this.#lock.leaveWrite(this.#cpu)
    return errno
  }

  /** Takes the prefix's route out. Returns 0, or ENOENT where it has none. */
  remove(prefix: Prefix): number {
    this.#lock.enterWrite(this.#cpu, CHANGE)
    const errno = this.#remove(prefix)
    this.#lock.leaveWrite(this.#cpu)
    return errno
  }

  #match(family: Family, address: Address): Address {
    const u8 = this.#u8
    const u32 = this.#u32
    const n = this.#node
    n.at = family === Family.inet ? this.#table.inet : this.#table.inet6
    let last = n.step >> 2
    for (;;) {
      const bit = u32[last + BIT]!
      const next = u32[last + ((u8[address + (bit >>> 8)]! & bit & 0xff) === 0 ? ZERO : ONE)]!
      if (next === 0) break
      last = next >> 2
    }
    n.at = u32[last + NODE]!
    const shared = commonBits(u8, address, n.bytes, n.length)
    while (n.at !== 0 && (n.length > shared || (n.flags & Flag.ROUTE) === 0)) n.at = n.parent
    return n.at
  }

  #copyOut(node: Address): void {
    const n = this.#node
    n.at = node
    this.interfaceIndex = n.interfaceIndex
    this.gateway = 0
    if ((n.flags & Flag.GATEWAY) === 0) return
    this.gateway = this.#scratch + 16
    const words = this.#u32
    const from = n.gateway >> 2
    const to = this.gateway >> 2
    words[to] = words[from]!
    if (n.family === Family.inet) return
    words[to + 1] = words[from + 1]!
    words[to + 2] = words[from + 2]!
    words[to + 3] = words[from + 3]!
  }

  #insert(route: Route): number {
    const n = this.#node
    const { length } = route
    const prefix = this.#take(route)
    let above = this.#root(route.family)
    let below = 0
    let shared = 0
    for (;;) {
      n.at = above
      if (n.length === length) {
        if ((n.flags & Flag.ROUTE) !== 0) return Errno.EEXIST
        this.#setRoute(above, route)
        return 0
      }
      below = this.#below(above, prefix)
      if (below === 0) break
      n.at = below
      shared = commonBits(this.#u8, prefix, n.bytes, Math.min(n.length, length))
      if (shared < n.length) break
      above = below
    }
    const parts = below !== 0 && shared < length
    const added = this.#makeNode(route.family, prefix, length)
    const upper = parts && added !== 0 ? this.#makeNode(route.family, prefix, shared) : 0
    if (added === 0 || (parts && upper === 0)) {
      if (added !== 0) this.#freeNode(added)
      return Errno.ENOBUFS
    }
    this.#setRoute(added, route)
    if (below === 0) this.#link(above, added)
    else {
      const top = parts ? upper : added
      if (parts) this.#link(upper, added)
      this.#link(top, below)
      this.#link(above, top)
    }
    return 0
  }

  #remove(prefix: Prefix): number {
    const n = this.#node
    const address = this.#take(prefix)
    let at = this.#root(prefix.family)
    n.at = at
    while (at !== 0 && n.length < prefix.length) {
      at = this.#below(at, address)
      n.at = at
    }
    const isOf = at !== 0 && n.length === prefix.length && (n.flags & Flag.ROUTE) !== 0
    if (!isOf || commonBits(this.#u8, address, n.bytes, n.length) !== n.length) return Errno.ENOENT
    n.flags = 0
    this.#table.count--
    this.#prune(at)
    return 0
  }

  /** Takes a node out if it has no route and parts nothing, and then its parent if that is left with as little. */
  #prune(candidate: Address): void {
    const n = this.#node
    const words = this.#u32
    n.at = candidate
    const { parent, flags } = n
    const step = n.step >> 2
    const zero = words[step + ZERO]!
    const one = words[step + ONE]!
    // The root stays.
    if (parent === 0 || (flags & Flag.ROUTE) !== 0 || (zero !== 0 && one !== 0)) return
    const child = zero !== 0 ? zero : one
    if (child !== 0) this.#link(parent, words[(child >> 2) + NODE]!)
    else {
      const side = this.#side(parent, candidate + Node.offset.bytes)
      n.at = parent
      words[(n.step >> 2) + side] = 0
    }
    this.#freeNode(candidate)
    // Once at most: a parent without a route had another child, which takes its place.
    if (child === 0) this.#prune(parent)
  }

  #setRoute(node: Address, route: Route): void {
    const n = this.#node
    n.at = node
    n.flags =
      Flag.ROUTE | (route.gateway === undefined ? 0 : Flag.GATEWAY) | (route.source === undefined ? 0 : Flag.SOURCE)
    n.interfaceIndex = route.interfaceIndex
    if (route.gateway !== undefined) this.#u8.set(route.gateway, n.gateway)
    if (route.source !== undefined) this.#u8.set(route.source, n.source)
    this.#table.count++
  }

  /** The prefix's bytes, in memory. */
  #take({ family, bytes, length }: Prefix): Address {
    assert(bytes.length === addressBytes(family) && length <= bytes.length * 8, 'a prefix is of its family')
    this.#u8.set(bytes, this.#scratch)
    return this.#scratch
  }

  #root(family: Family): Address {
    return family === Family.inet ? this.#table.inet : this.#table.inet6
  }

  /** The child of `above` on the way to the address, or 0. */
  #below(above: Address, address: Address): Address {
    const side = this.#side(above, address)
    this.#node.at = above
    const child = this.#u32[(this.#node.step >> 2) + side]!
    return child === 0 ? 0 : this.#u32[(child >> 2) + NODE]!
  }

  #side(above: Address, address: Address): number {
    this.#node.at = above
    const bit = this.#u32[(this.#node.step >> 2) + BIT]!
    return (this.#u8[address + (bit >>> 8)]! & bit & 0xff) === 0 ? ZERO : ONE
  }

  /** Puts `below` where its prefix belongs under `above`, whatever was there. */
  #link(above: Address, below: Address): void {
    const side = this.#side(above, below + Node.offset.bytes)
    const n = this.#node
    n.at = above
    const step = n.step >> 2
    n.at = below
    this.#u32[step + side] = n.step
    n.parent = above
  }

  /** A node for the first `length` bits of the address, linked to none; 0 without memory. */
  #makeNode(family: Family, address: Address, length: number): Address {
    const { slab } = this.#cpu
    const step = this.#takeStep()
    if (step === 0) return 0
    const node = slab.tryAllocate(Node.size)
    if (node === 0) {
      this.#giveStep(step)
      return 0
    }
    const u8 = this.#u8
    u8.fill(0, node, node + Node.size)
    const n = this.#node
    n.at = node
    n.step = step
    n.length = length
    n.family = family
    const whole = length >>> 3
    u8.copyWithin(n.bytes, address, address + whole)
    if ((length & 7) !== 0) u8[n.bytes + whole] = u8[address + whole]! & ~(0xff >>> (length & 7))
    const words = this.#u32
    words[(step >> 2) + ZERO] = 0
    words[(step >> 2) + ONE] = 0
    words[(step >> 2) + BIT] = length === addressBytes(family) * 8 ? 0 : ((length >>> 3) << 8) | (0x80 >>> (length & 7))
    words[(step >> 2) + NODE] = node
    return node
  }

  #makeRoot(family: Family): Address {
    const root = this.#makeNode(family, this.#scratch, 0)
    assert(root !== 0, 'there is memory for an empty table')
    return root
  }

  #freeNode(node: Address): void {
    this.#node.at = node
    this.#giveStep(this.#node.step)
    this.#cpu.slab.free(node)
  }

  #freeBelow(node: Address): void {
    this.#node.at = node
    const step = this.#node.step >> 2
    for (const word of [ZERO, ONE]) {
      const child = this.#u32[step + word]!
      if (child !== 0) this.#freeBelow(this.#u32[(child >> 2) + NODE]!)
    }
    this.#cpu.slab.free(node)
  }

  #takeStep(): Address {
    const t = this.#table
    if (t.freeStep === 0) this.#addPage()
    const step = t.freeStep
    if (step !== 0) t.freeStep = this.#u32[step >> 2]!
    return step
  }

  #giveStep(step: Address): void {
    this.#u32[step >> 2] = this.#table.freeStep
    this.#table.freeStep = step
  }

  /** 255 steps more, in the order of their addresses; the place of the first has the link of the pages. */
  #addPage(): void {
    const page = this.#cpu.slab.tryAllocate(PAGE_BYTES)
    if (page === 0) return
    const t = this.#table
    this.#u32[page >> 2] = t.page
    t.page = page
    for (let step = page + PAGE_BYTES - STEP_BYTES; step > page; step -= STEP_BYTES) this.#giveStep(step)
  }
}

/** How many leading bits two addresses share, `limit` at most. */
function commonBits(u8: Uint8Array, a: Address, b: Address, limit: number): number {
  for (let index = 0; index * 8 < limit; index++) {
    const differing = u8[a + index]! ^ u8[b + index]!
    if (differing !== 0) return Math.min(index * 8 + Math.clz32(differing) - 24, limit)
  }
  return limit
}
