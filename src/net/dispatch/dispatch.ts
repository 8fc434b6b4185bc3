// Dispatch: which CPU owns a packet, and its way there. A packet of a flow goes to the CPU that the flow's hash names;
// there everything above runs without a lock. Already there: a call, or as IP's policy says (policy.ts). Elsewhere: a message to that CPU's
// netisr port.
import type { Address } from '../../base/struct.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import type { TallyOf } from '../../kernel/counters.ts'
import { EASYNC } from '../../kernel/message.ts'
import type { Port, PortId } from '../../kernel/port.ts'
import { Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { DispatchCounters, DispatchTally, NetisrCounters } from '../counters.ts'
import { isIcmpError } from '../icmp/header.ts'
import type { DispatchPlan } from '../policy.ts'
import { addressHash, flowHash } from '../toeplitz.ts'

const C = DispatchCounters.index
const { droppedIp, droppedReassembled } = NetisrCounters.index
const { HASHED, REASSEMBLED } = MbufFlag
const TCP = 6
const UDP = 17
const ICMP = 1
const FRAGMENT = 0x3fff

/** Called on the owner's CPU: the packet's data begins with the IP header. */
export type NetisrHandler = (packet: Address) => void

export class Dispatch {
  /** IP's queue on this CPU. */
  readonly port: Port
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #tally: TallyOf<typeof DispatchTally>
  readonly #u8: Uint8Array
  readonly #input: NetisrHandler
  /** Any CPU may work on any connection. */
  isAnywhere: boolean
  /** A packet that is at home already is a call: always, or where nothing waits. */
  readonly #isDirect: boolean
  readonly #isHybrid: boolean
  /** What may wait in a queue that the policy has made: those that are only the way to another CPU are bounded by their rings. */
  readonly #limit: number
  readonly #netisrCount: Float64Array
  /** The netisr port of each CPU of the host; 0 until it is known. */
  readonly #ports: PortId[] = []

  constructor(context: NetContext, { policies, queueLimit }: DispatchPlan, input: NetisrHandler) {
    this.#context = context
    this.#m = context.mbuf()
    this.#u8 = context.u8
    this.#count = context.count(DispatchCounters)
    this.#tally = context.tally(DispatchTally)
    this.#input = input
    this.isAnywhere = (context.config.discipline ?? 'connp-t') !== 'connp-t'
    this.#isDirect = policies.ip === 'direct'
    this.#isHybrid = policies.ip === 'hybrid'
    this.#limit = queueLimit
    this.#netisrCount = context.count(NetisrCounters)
    this.port = context.cpu.ports.create({
      name: context.portName('netisr', context.cpu.index),
      point: 'netisr',
      dispatch: 'deferred',
      // A worker takes the whole queue, where all that arrives goes by it.
      ...(this.#isDirect ? {} : { batch: queueLimit }),
      handler: (packet) => {
        const owner = this.#owner(packet)
        if (owner === context.cpu.index) this.#input(packet)
        else {
          // The discipline has changed while it was under way.
          this.#count[C.redirected]!++
          this.#handOff(owner, packet)
        }
        return EASYNC
      },
    })
    if (!this.#isDirect) context.cpu.onStop(() => context.cpu.ports.discard(this.port))
  }

  /** Sends an IP packet to its owner; on the owner's CPU that is a call, unless IP's policy is another. */
  steer(packet: Address): void {
    const m = this.#m
    m.at = packet
    if ((m.flags & HASHED) === 0) {
      m.hash = this.hash(m.data, m.length)
      m.flags |= HASHED
    }
    this.#tally.steered++
    const owner = this.#owner(packet)
    if (owner === this.#context.cpu.index && (this.#isDirect || this.#isIdle())) {
      this.#tally.direct++
      this.#input(packet)
    } else this.#handOff(owner, packet)
  }

  /** As `steer`, but never a call: for packets that this CPU has just sent to itself. */
  defer(packet: Address): void {
    const m = this.#m
    m.at = packet
    m.hash = this.hash(m.data, m.length)
    m.flags |= HASHED
    this.#tally.steered++
    this.#handOff(this.#owner(packet), packet)
  }

  /** Put together out of fragments: only now its ports are known, and with them its owner. */
  rehash(packet: Address): void {
    this.#count[C.rehashed]!++
    const m = this.#m
    m.at = packet
    m.flags &= ~HASHED
    this.steer(packet)
  }

  /**
   * The hash of the flow that an IP packet belongs to, 0 to 65535; symmetric. Fragments and protocols without ports
   * are hashed by addresses; an ICMP error by the packet that it quotes, so that it reaches whom it is about.
   * Looks at `length` bytes only, and believes none of them.
   */
  hash(address: Address, length: number): number {
    const u8 = this.#u8
    if (length < 20 || u8[address]! >>> 4 !== 4) return 0
    const headerBytes = (u8[address]! & 15) << 2
    const protocol = u8[address + 9]!
    if (!isFragment(u8, address) && length >= headerBytes + 8) {
      const ports = address + headerBytes
      if (protocol === UDP || protocol === TCP) {
        const sourcePort = (u8[ports]! << 8) | u8[ports + 1]!
        const targetPort = (u8[ports + 2]! << 8) | u8[ports + 3]!
        return flowHash(u8, Family.inet, address + 12, address + 16, sourcePort, targetPort)
      }
      const quoted = headerBytes + 8
      // A quote within a quote is nobody's: one level is looked at.
      if (protocol === ICMP && isIcmpError(u8[ports]!) && u8[address + quoted + 9] !== ICMP) {
        return this.hash(address + quoted, length - quoted)
      }
    }
    return addressHash(u8, Family.inet, address + 12, address + 16)
  }

  /**
   * The CPU that takes a packet whose hash is known. TCP belongs to whoever has it where that one enters its connection's group by a lock;
   * all else has an owner under every discipline: fragments, the sockets of UDP.
   */
  #owner(packet: Address): number {
    const m = this.#m
    m.at = packet
    if (this.isAnywhere && this.#u8[m.data + 9] === TCP && m.length >= 20 && !isFragment(this.#u8, m.data)) {
      return this.#context.cpu.index
    }
    return this.#context.owner(m.hash)
  }

  /** The CPU that takes a segment of TCP of the flow: it may have come to be another since IP had the segment. */
  ownerOfSegment(hash: number): number {
    return this.isAnywhere ? this.#context.cpu.index : this.#context.owner(hash)
  }

  /** The policy is `hybrid`, and nothing would be overtaken. */
  #isIdle(): boolean {
    return this.#isHybrid && !this.port.running && this.#context.cpu.ports.depth(this.port) === 0
  }

  #handOff(owner: number, packet: Address): void {
    const { mbufs, cpu } = this.#context
    const port = this.#port(owner)
    if (!this.#isDirect && cpu.ports.depthOf(port) >= this.#limit) {
      this.#m.at = packet
      this.#netisrCount[(this.#m.flags & REASSEMBLED) === 0 ? droppedIp : droppedReassembled]!++
      mbufs.free(packet)
      return
    }
    this.#count[C.handedOff]!++
    mbufs.handOff(port, packet)
  }

  #port(cpu: number): PortId {
    this.#ports[cpu] ||= this.#context.cpu.ports.lookup(this.#context.portName('netisr', cpu))
    return this.#ports[cpu]
  }
}

function isFragment(u8: Uint8Array, header: Address): boolean {
  return (((u8[header + 6]! << 8) | u8[header + 7]!) & FRAGMENT) !== 0
}
