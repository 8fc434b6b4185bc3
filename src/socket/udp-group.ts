// The groups that one UDP socket has joined, and what it wants to hear of them. For udp.ts. That the host hears them at all is
// the affair of control/group.ts, which counts members on each interface; filters by source are the socket's own.
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import { Family, isMulticast, isUnspecified, parseAddress } from '../net/address.ts'
import type { NetContext } from '../net/context.ts'
import type { GroupRounds } from '../net/control/group.ts'
import type { Interface } from '../net/interface.ts'
import type { MulticastOutput } from '../net/ip/multicast.ts'

/** Memberships of one socket, and sources of one membership. Whoever wants one more gets ENOBUFS. */
export const MEMBERSHIPS_MAX = 256
export const SOURCES_MAX = 64

const INET = Family.inet

export interface UdpMembership {
  /** `224.1.2.3`. */
  readonly group: string
  /**
   * The interface's name, or one of its addresses. Default, and `0.0.0.0`: to join, that of the route to the group, or without one
   * the first that is not the loopback; to leave, any on which it has joined.
   */
  readonly interface?: string
  /** Only what this host sends (RFC 4607): a socket may join a group for several. Default: what anybody sends. */
  readonly source?: string
}

/** Told when all CPUs of the host know, or, to join, that one had no memory for it. */
export type UdpMembershipDone = (error: KernelError | undefined) => void

interface Joined {
  readonly group: Uint8Array
  readonly iface: Interface
  /** Whom it listens to; undefined: everybody. */
  sources: Uint8Array[] | undefined
  /** All CPUs know. */
  isKnown: boolean
  /** It was left before they did: what is then called. */
  onKnown: (() => void) | undefined
}

export class UdpGroups {
  readonly #context: NetContext
  readonly #multicast: MulticastOutput
  readonly #rounds: GroupRounds
  readonly #joined: Joined[] = []

  constructor(context: NetContext, multicast: MulticastOutput, rounds: GroupRounds) {
    this.#context = context
    this.#multicast = multicast
    this.#rounds = rounds
  }

  /** How many there are. */
  get size(): number {
    return this.#joined.length
  }

  /** Whether a packet that came by an interface is for this socket; of groups that it has not joined, what others have is where `all`. */
  accepts(interfaceIndex: number, group: Address, source: Address, all: boolean): boolean {
    for (let i = 0; i < this.#joined.length; i++) {
      const each = this.#joined[i]!
      if (each.iface.index !== interfaceIndex || !this.#isAt(group, each.group)) continue
      if (each.sources === undefined) return true
      for (let k = 0; k < each.sources.length; k++) if (this.#isAt(source, each.sources[k]!)) return true
      return false
    }
    return all
  }

  /** @throws KernelError as UdpSocket.join says */
  join(wanted: UdpMembership, done: UdpMembershipDone): void {
    const group = this.#group(wanted)
    const source = parseSource(wanted)
    const iface = this.#interface(wanted, group)
    const known = this.#joined.find((each) => each.iface === iface && isSame(each.group, group))
    if (known !== undefined) {
      addSource(known, source, wanted)
      return done(undefined)
    }
    if (this.#joined.length === MEMBERSHIPS_MAX) {
      throw refusal(
        Errno.ENOBUFS,
        wanted,
        `a socket joins at most ${MEMBERSHIPS_MAX} groups: leave one, or open another`,
      )
    }
    const sources = source === undefined ? undefined : [source]
    const joined: Joined = { group, iface, sources, isKnown: false, onKnown: undefined }
    this.#joined.push(joined)
    this.#rounds.join(iface.index, INET, group, (errno) => {
      joined.isKnown = errno === 0
      const { onKnown } = joined
      if (errno === 0) done(undefined)
      else {
        if (onKnown === undefined) this.#joined.splice(this.#joined.indexOf(joined), 1)
        done(refusal(errno, wanted, 'there is no memory for one more group: leave one, or give the machine more'))
      }
      if (onKnown === undefined) return
      if (errno === 0) this.#leaveRound(joined, onKnown)
      else onKnown()
    })
  }

  /** @throws KernelError as UdpSocket.leave says */
  leave(wanted: UdpMembership, done: UdpMembershipDone): void {
    const group = this.#group(wanted)
    const source = parseSource(wanted)
    const onAny = isAny(wanted.interface)
    const iface = onAny ? undefined : findInterface(this.#context, wanted.interface!)
    const at = this.#joined.findIndex((each) => (onAny || each.iface === iface) && isSame(each.group, group))
    if (at < 0) {
      const errno = source === undefined ? Errno.EADDRNOTAVAIL : Errno.EINVAL
      throw refusal(errno, wanted, 'the socket has not joined it there')
    }
    const joined = this.#joined[at]!
    if (source !== undefined) {
      const index = joined.sources?.findIndex((each) => isSame(each, source)) ?? -1
      if (index < 0) throw refusal(Errno.EADDRNOTAVAIL, wanted, 'the socket has not joined it for this source')
      // Without the last one there is nothing to listen to (Linux).
      if (joined.sources!.length > 1) {
        joined.sources!.splice(index, 1)
        return done(undefined)
      }
    }
    this.#joined.splice(at, 1)
    this.#give(joined, () => done(undefined))
  }

  /** The socket is closed. */
  leaveAll(): void {
    for (const joined of this.#joined.splice(0)) this.#give(joined, () => {})
  }

  /** It is left when it is known to have been joined: the counts of members never run behind. */
  #give(joined: Joined, done: () => void): void {
    if (joined.isKnown) this.#leaveRound(joined, done)
    else joined.onKnown = done
  }

  #leaveRound(joined: Joined, done: () => void): void {
    this.#rounds.leave(joined.iface.index, INET, joined.group, done)
  }

  #group(wanted: UdpMembership): Uint8Array {
    const { family, bytes } = parseAddress(wanted.group)
    if (family !== INET || !isMulticast(bytes, INET, 0)) {
      throw refusal(Errno.EINVAL, wanted, 'this is no IPv4 group: give one from 224.0.0.0 to 239.255.255.255')
    }
    return bytes
  }

  #interface(wanted: UdpMembership, group: Uint8Array): Interface {
    const { u8, scratch, interfaces } = this.#context
    if (isAny(wanted.interface)) {
      u8.set(group, scratch)
      const found = this.#multicast.interfaceTo(scratch)
      if (found !== undefined) return found
      throw refusal(Errno.ENODEV, wanted, 'the host has no interface with an IPv4 address')
    }
    const found = findInterface(this.#context, wanted.interface!)
    if (found !== undefined) return found
    const known = interfaces.map(({ name }) => name).join(', ')
    throw refusal(Errno.ENODEV, wanted, `the host has no interface of this name or address; there are ${known}`)
  }

  #isAt(address: Address, bytes: Uint8Array): boolean {
    const { u8 } = this.#context
    for (let i = 0; i < bytes.length; i++) if (u8[address + i] !== bytes[i]) return false
    return true
  }
}

/** The interface of this name, or with this IPv4 address. */
export function findInterface(context: NetContext, text: string): Interface | undefined {
  const named = context.interfaces.find(({ name }) => name === text)
  if (named !== undefined) return named
  let bytes: Uint8Array
  try {
    const parsed = parseAddress(text)
    if (parsed.family !== INET) return undefined
    bytes = parsed.bytes
  } catch (error) {
    if (error instanceof KernelError) return undefined
    throw error
  }
  // All of 127/8 is the host itself.
  if (bytes[0] === 127) return context.interfaces.find(({ loopback }) => loopback)
  return context.interfaces.find(({ addresses }) =>
    addresses.some((own) => own.family === INET && isSame(own.bytes, bytes)),
  )
}

/** Linux's IP_ADD_SOURCE_MEMBERSHIP to a group that was joined already. */
function addSource(known: Joined, source: Uint8Array | undefined, wanted: UdpMembership): void {
  if (source === undefined) throw refusal(Errno.EADDRINUSE, wanted, 'the socket has joined it there already')
  // Who has joined for everybody is asked, from now on, to listen to one: with no source excluded, that is no contradiction.
  known.sources ??= []
  if (known.sources.some((each) => isSame(each, source))) {
    throw refusal(Errno.EADDRNOTAVAIL, wanted, 'the socket has joined it there for this source already')
  }
  if (known.sources.length === SOURCES_MAX) {
    throw refusal(Errno.ENOBUFS, wanted, `a socket listens to at most ${SOURCES_MAX} sources of a group`)
  }
  known.sources.push(source)
}

function parseSource(wanted: UdpMembership): Uint8Array | undefined {
  if (wanted.source === undefined) return undefined
  const { family, bytes } = parseAddress(wanted.source)
  if (family === INET && !isMulticast(bytes, INET, 0) && !isUnspecified(bytes, INET, 0)) return bytes
  throw refusal(Errno.EINVAL, wanted, 'a source is one IPv4 host')
}

/** Whether no interface was chosen. */
function isAny(text: string | undefined): boolean {
  return text === undefined || text === '' || text === '0.0.0.0'
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

function refusal(errno: number, wanted: UdpMembership, sentence: string): KernelError {
  const source = wanted.source === undefined ? '' : ` from ${wanted.source}`
  const place = wanted.interface === undefined ? '' : ` on ${wanted.interface}`
  return new KernelError(errno, `group ${wanted.group}${source}${place}: ${sentence}`, 'setsockopt')
}
