// The route table: which way a packet goes, by the longest prefix that its target matches. Every CPU has one of its
// own, changed by a message to each, so that a lookup needs no lock. Its CPU may call; nothing blocks, and only
// changes allocate. @rfc 1122 3.2.1.3/subnets 3.3.1.2/cache 3.3.1.2/default 3.3.1.2/static 3.3.1.3/host
//
// @rfc-not 1122 3.3.1.2/defaults 3.3.1.5 not done: a prefix has one route. Who finds its gateway dead changes the route, while the host runs
// @rfc-not 1122 3.3.1.3/tos not done: RFC 1812 5.3.2 was its last user
//
// One binary trie for each family, path-compressed: a node stands for a prefix, and its children for longer ones
// that continue it with a 0 or a 1. A node without a route is there only to part two children.
//
//                       0/0                       the root, with a default route or without
//                        │
//                 10.76.0.0/14 ─ no route         parts the two below at bit 14, where they differ first
//                  0 ┌───┴───┐ 1
//        10.77.0.0/16        10.78.0.0/16
//              0 │
//        10.77.3.0/24
//
// A lookup goes down by single bits without comparing, to the last node there is; compares the target once with
// that node's prefix, giving the bits they share; and comes back up to the first route that is not longer than
// those. This is right since every node above has a prefix of the one compared. The way down has as many steps as
// there are nodes that part others: about log2 of the routes, 33 or 129 at most. Those steps lie in one typed array,
// 16 bytes each: with 100 000 routes half the time of children that are objects (bench/route.ts).
import { assert } from '../../base/assert.ts'
import { Errno, KernelError } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { addressBytes, Family, formatAddress, networkBytes, type Prefix } from '../address.ts'

/** What a lookup finds. Made at `insert`, and the same object from then on: it may be compared by `===`. */
export interface Route extends Prefix {
  /** Where to send what is not for a neighbour, of the same family; without one, the target is on the link. */
  readonly gateway?: Uint8Array
  readonly interfaceIndex: number
  /** The address to send from, of the same family, where the program has not bound one. */
  readonly source?: Uint8Array
  /** For who prints or redistributes routes. A prefix has one route only, so that a lookup never weighs it. */
  readonly metric?: number
}

/** Routes of both families that a table holds at most, unless it is told otherwise. */
export const routesMaximum = 1 << 20

/** A prefix that has a route, or that parts two children. Its children are in the trie's `steps`. */
interface Node {
  /** Where its step is: the index of its first word. The root's is 0. */
  readonly step: number
  readonly bytes: Uint8Array
  /** In bits. */
  readonly length: number
  route: Route | undefined
  parent: Node | undefined
}

/** The words of a step: the step of each child, or 0 for none; and which bit of an address says the child. */
const zeroWord = 0
const oneWord = 1
/** The index of the bit's byte, shifted by 8, and the byte's mask. 0 for a prefix that is a whole address. */
const bitWord = 2
const stepWords = 4

class Trie {
  steps = new Int32Array(16 * stepWords)
  /** By step divided by `stepWords`. */
  readonly nodes: (Node | undefined)[] = []
  readonly root: Node
  readonly #free: number[] = []

  constructor(family: Family) {
    this.root = this.add(new Uint8Array(addressBytes(family)), 0, undefined)
  }

  /** A node that is linked to none. */
  add(bytes: Uint8Array, length: number, route: Route | undefined): Node {
    const step = this.#free.pop() ?? this.nodes.length * stepWords
    if (step === this.steps.length) {
      const grown = new Int32Array(step * 2)
      grown.set(this.steps)
      this.steps = grown
    }
    this.steps[step + zeroWord] = 0
    this.steps[step + oneWord] = 0
    this.steps[step + bitWord] = length === bytes.length * 8 ? 0 : ((length >>> 3) << 8) | (0x80 >>> (length & 7))
    const node: Node = { step, bytes, length, route, parent: undefined }
    this.nodes[step / stepWords] = node
    return node
  }

  /** The child of `above` on the way to `bytes`. */
  below(above: Node, bytes: Uint8Array): Node | undefined {
    return this.#child(this.steps[above.step + this.#side(above, bytes)]!)
  }

  /** Puts `below` where its prefix belongs under `above`, whatever was there. */
  link(above: Node, below: Node): void {
    this.steps[above.step + this.#side(above, below.bytes)] = below.step
    below.parent = above
  }

  /** Puts `added` between `above` and its child `below`, whose prefix shares only `shared` bits with it. */
  insertBetween(above: Node, below: Node, shared: number, added: Node): void {
    let upper = added
    if (shared < added.length) {
      upper = this.add(networkBytes(added.bytes, shared), shared, undefined)
      this.link(upper, added)
    }
    this.link(upper, below)
    this.link(above, upper)
  }

  /** Takes `candidate` out if it has no route and parts nothing, and then its parent if that is left with as little. */
  prune(candidate: Node): void {
    const { parent, step } = candidate
    const zero = this.#child(this.steps[step + zeroWord]!)
    const one = this.#child(this.steps[step + oneWord]!)
    // The root stays.
    if (parent === undefined || candidate.route !== undefined || (zero && one)) return
    this.nodes[step / stepWords] = undefined
    this.#free.push(step)
    const child = zero ?? one
    if (child !== undefined) {
      this.link(parent, child)
      return
    }
    this.steps[parent.step + this.#side(parent, candidate.bytes)] = 0
    // Once at most: a parent without a route had another child, which takes its place.
    this.prune(parent)
  }

  #child(step: number): Node | undefined {
    return step === 0 ? undefined : this.nodes[step / stepWords]
  }

  #side(above: Node, bytes: Uint8Array): number {
    const bit = this.steps[above.step + bitWord]!
    return (bytes[bit >>> 8]! & bit & 0xff) === 0 ? zeroWord : oneWord
  }
}

export class RouteTable {
  readonly #inet = new Trie(Family.inet)
  readonly #inet6 = new Trie(Family.inet6)
  readonly #maximum: number
  #count = 0
  #generation = 0

  /** @param maximum how many routes there may be */
  constructor(maximum: number = routesMaximum) {
    this.#maximum = maximum
  }

  /** Changes with every change of the table: what somebody found out by it holds as long as this stays. */
  get generation(): number {
    return this.#generation
  }

  /** How many routes there are. */
  get count(): number {
    return this.#count
  }

  /**
   * Adds a route. The table keeps copies of the bytes.
   * @throws KernelError EINVAL for bytes or a length that are not of the family, or bits behind the prefix; EEXIST
   * where the prefix has a route; ENOSPC where the table is full
   */
  insert(route: Route): Route {
    checkPrefix(route)
    checkFamily(route.family, route.gateway, 'gateway')
    checkFamily(route.family, route.source, 'source')
    const { bytes, length } = route
    const trie = this.#trie(route.family)
    let above = trie.root
    while (above.length < length) {
      const below = trie.below(above, bytes)
      const shared = below === undefined ? 0 : commonBits(bytes, 0, below.bytes, Math.min(below.length, length))
      if (below !== undefined && shared === below.length) {
        above = below
        continue
      }
      this.#admit()
      const own = ownRoute(route)
      const added = trie.add(own.bytes, length, own)
      if (below === undefined) trie.link(above, added)
      else trie.insertBetween(above, below, shared, added)
      return own
    }
    if (above.route !== undefined)
      throw new KernelError(Errno.EEXIST, `there is a route for ${formatPrefix(route)}: remove it first`)
    this.#admit()
    above.route = ownRoute(route)
    return above.route
  }

  /**
   * Takes the prefix's route out and returns it. Who still holds the route may go on reading it.
   * @throws KernelError EINVAL as `insert`; ENOENT where the prefix has no route
   */
  remove(prefix: Prefix): Route {
    checkPrefix(prefix)
    const trie = this.#trie(prefix.family)
    const found = find(trie, prefix)
    const route = found?.route
    if (found === undefined || route === undefined)
      throw new KernelError(Errno.ENOENT, `there is no route for ${formatPrefix(prefix)}`)
    found.route = undefined
    this.#count--
    this.#generation++
    trie.prune(found)
    return route
  }

  /** The route with the longest prefix of the address at `address`. Allocates nothing. */
  lookup(u8: Uint8Array, family: Family, address: Address): Route | undefined {
    const trie = family === Family.inet ? this.#inet : this.#inet6
    const steps = trie.steps
    let last = 0
    for (;;) {
      const bit = steps[last + bitWord]!
      const next = steps[last + ((u8[address + (bit >>> 8)]! & bit & 0xff) === 0 ? zeroWord : oneWord)]!
      if (next === 0) break
      last = next
    }
    let matching = trie.nodes[last / stepWords]
    assert(matching !== undefined, 'a step that is linked has its node')
    const shared = commonBits(u8, address, matching.bytes, matching.length)
    while (matching !== undefined && (matching.length > shared || matching.route === undefined))
      matching = matching.parent
    return matching?.route
  }

  /** Every route: IPv4 before IPv6, by the address of the network, the shorter prefix before those inside it. */
  *[Symbol.iterator](): Generator<Route, void, undefined> {
    for (const trie of [this.#inet, this.#inet6]) {
      const pending = [trie.root.step]
      for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
        const route = trie.nodes[next / stepWords]?.route
        if (route !== undefined) yield route
        for (const word of [oneWord, zeroWord]) {
          const child = trie.steps[next + word]!
          if (child !== 0) pending.push(child)
        }
      }
    }
  }

  #trie(family: Family): Trie {
    return family === Family.inet ? this.#inet : this.#inet6
  }

  #admit(): void {
    if (this.#count >= this.#maximum)
      throw new KernelError(Errno.ENOSPC, `the route table is full: it holds ${this.#maximum} routes`)
    this.#count++
    this.#generation++
  }
}

/** The node that stands for the prefix. */
function find(trie: Trie, prefix: Prefix): Node | undefined {
  let at: Node | undefined = trie.root
  while (at !== undefined && at.length < prefix.length) at = trie.below(at, prefix.bytes)
  if (at === undefined || at.length !== prefix.length) return undefined
  return commonBits(prefix.bytes, 0, at.bytes, at.length) === at.length ? at : undefined
}

/** A copy that shares no bytes with the caller's. */
function ownRoute(route: Route): Route {
  const { family, bytes, length, gateway, interfaceIndex, source, metric } = route
  return {
    family,
    bytes: bytes.slice(),
    length,
    ...(gateway && { gateway: gateway.slice() }),
    interfaceIndex,
    ...(source && { source: source.slice() }),
    ...(metric !== undefined && { metric }),
  }
}

/** How many leading bits the address at `address` shares with `bytes`, `limit` at most. */
function commonBits(u8: Uint8Array, address: Address, bytes: Uint8Array, limit: number): number {
  for (let index = 0; index * 8 < limit; index++) {
    const differing = u8[address + index]! ^ bytes[index]!
    if (differing !== 0) return Math.min(index * 8 + Math.clz32(differing) - 24, limit)
  }
  return limit
}

function checkPrefix(prefix: Prefix): void {
  const { family, bytes, length } = prefix
  assert(family === Family.inet || family === Family.inet6, 'a route is of a family')
  if (bytes.length !== addressBytes(family) || !Number.isInteger(length) || length < 0 || length > bytes.length * 8)
    throw new KernelError(
      Errno.EINVAL,
      `a route of family ${family} needs ${addressBytes(family)} bytes and a length of 0 to ${addressBytes(family) * 8} bits: got ${bytes.length} bytes and ${length}`,
    )
  const network = networkBytes(bytes, length)
  if (network.some((byte, index) => byte !== bytes[index]))
    throw new KernelError(
      Errno.EINVAL,
      `${formatPrefix(prefix)} has bits set behind its prefix: say ${formatPrefix({ family, bytes: network, length })}`,
    )
}

function checkFamily(family: Family, bytes: Uint8Array | undefined, what: string): void {
  if (bytes === undefined || bytes.length === addressBytes(family)) return
  throw new KernelError(
    Errno.EINVAL,
    `a route's ${what} is of the route's family, ${addressBytes(family)} bytes: got ${bytes.length}`,
  )
}

function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.family, prefix.bytes, 0)}/${prefix.length}`
}
