// What goes along with messages of local sockets, on one CPU: looked at, given away, taken out, and given up with a message that is lost.
import { assert } from '../../base/assert.ts'
import { Errno, KernelError } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import { CLUSTER_BYTES_MAX } from '../../device/mbuf.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import type { PortId } from '../../kernel/port.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { encodeChain, TRACE_BYTES_MAX } from '../../kernel/trace/wire.ts'
import { type Ancillary, encodeAncillary, type Right, readAncillary } from './ancillary.ts'
import { LocalCounters } from './counters.ts'
import { type LocalCredentials, Want } from './kind.ts'
import { Op } from './message.ts'
import type { Packets } from './packet.ts'
import { LocalPort, type LocalRight, type LocalSendOptions, type Prepared } from './right.ts'
import { LocalSocket } from './socket.ts'
import type { LocalSockets } from './sockets.ts'

const C = LocalCounters.index
const NAME_CHARACTERS_MAX = 64
const ALL = Want.CREDENTIALS | Want.TRACE

export class Parcels {
  /** Rights of ports that this CPU's programs have. */
  readonly ports = new Set<LocalPort>()
  readonly #cpu: Cpu
  readonly #sockets: LocalSockets
  readonly #packets: Packets
  readonly #count: Float64Array
  readonly #chainOf: () => Chain
  /** Somebody has said what the stack is. */
  readonly #isGiven: boolean
  readonly #program: string
  /** Rights of ports that were made here, and who is told when they are over. */
  readonly #made = new Map<number, () => void>()
  #nextRight = 1

  constructor(cpu: Cpu, sockets: LocalSockets, program: string, chainOf: (() => Chain) | undefined) {
    this.#cpu = cpu
    this.#sockets = sockets
    this.#packets = sockets.packets
    this.#count = sockets.count
    this.#program = program.slice(0, NAME_CHARACTERS_MAX)
    this.#chainOf = chainOf ?? (() => cpu.tracer.here(this.trace))
    this.#isGiven = chainOf !== undefined
  }

  /** Who it is that runs here now. */
  credentials(): LocalCredentials {
    const thread = this.#cpu.threads.current
    return {
      cpu: this.#cpu.index,
      thread: thread?.id ?? -1,
      name: (thread?.name ?? this.#program).slice(0, NAME_CHARACTERS_MAX),
    }
  }

  /**
   * What a datagram takes along whose receiver has not said yet what it wants: a stack costs some µs and the room of many small
   * datagrams, and is taken where one was given, or where what is sent is traced.
   */
  get wantedByAny(): number {
    return this.#isGiven || this.#cpu.tracer.isSet ? ALL : ALL & ~Want.TRACE
  }

  /** The sender's stack, in at most so many bytes. */
  trace(asked: LocalSendOptions['stackTrace'], isWanted: boolean, bytesMax: number): Uint8Array | undefined {
    if (asked === undefined || asked === false ? !isWanted : false) return undefined
    const chain = typeof asked === 'object' ? asked : this.#chainOf()
    this.#count[C.traces]!++
    return encodeChain(chain, Math.min(TRACE_BYTES_MAX, bytesMax))
  }

  /** What is to go along with a message; undefined: nothing; or an errno. `wants` is the receiver's. */
  prepare(
    options: LocalSendOptions,
    wants: number,
    from: string | undefined,
    traceBytesMax: number,
  ): Prepared | number | undefined {
    const given = options.rights ?? []
    if (given.length > Limits.localRightsPerMessage || new Set(given).size < given.length) return Errno.EINVAL
    let rank = 0
    let sockets = 0
    const rights: Right[] = []
    for (const each of given) {
      if (each instanceof LocalSocket) {
        if (this.#sockets.endOf(each.address) !== each) return each.state === 'closed' ? Errno.EBADF : Errno.EINVAL
        const errno = each.whyNotGiven()
        if (errno !== 0) return errno
        sockets++
        rank = Math.max(rank, each.nextRank)
        rights.push({ type: 'socket', kind: each.kind, ...each.address })
      } else {
        if (!(each instanceof LocalPort)) return Errno.EINVAL
        if (!each.isOpen) return Errno.EBADF
        if (!this.ports.has(each)) return Errno.EINVAL
        rights.push({ type: 'port', port: each.port, ...each.address })
      }
    }
    if (this.#sockets.inFlight + sockets > Limits.localInFlight) return Errno.ETOOMANYREFS
    const isNamed = options.credentials === true || (wants & Want.CREDENTIALS) !== 0
    const ancillary: Ancillary = {
      rights,
      credentials: isNamed ? this.credentials() : undefined,
      from,
      trace: this.trace(options.stackTrace, (wants & Want.TRACE) !== 0, traceBytesMax),
    }
    const bytes = encodeAncillary(ancillary)
    assert(
      bytes === undefined || bytes.length <= CLUSTER_BYTES_MAX,
      'what goes along with a message fits into one mbuf',
    )
    return bytes === undefined ? undefined : { rights: given, ancillary, bytes, rank }
  }

  /** Puts it to a packet; nothing is given away yet. False: no memory. */
  attach(packet: Address, { bytes, ancillary, rank }: Prepared): boolean {
    const address = this.#packets.mbufs.allocateCluster(bytes.length)
    if (address === 0) return false
    this.#cpu.memory.transfer.toMachine(bytes, 0, bytes.length, this.#packets.mbufs.extend(address, bytes.length))
    this.#packets.attach(packet, address, ancillary.rights.length, rank)
    return true
  }

  /** The message is accepted: its rights are its own. */
  give({ rights }: Prepared): void {
    this.#count[C.rightsSent]! += rights.length
    for (const each of rights) {
      if (each instanceof LocalSocket) each.wrap()
      else each.leave()
    }
  }

  read(address: Address): Ancillary {
    return readAncillary(this.#cpu, this.#packets, address)
  }

  /** Takes rights out of a message, for this CPU's program; some are lost where there is no room. */
  takeRights(ancillary: Ancillary | undefined): { rights: readonly LocalRight[]; areLost: boolean } {
    if (ancillary === undefined || ancillary.rights.length === 0) return NO_RIGHTS
    const rights: LocalRight[] = []
    let areLost = false
    for (const right of ancillary.rights) {
      const taken = this.#take(right)
      if (taken === undefined) {
        this.loseRight(right)
        this.#count[C.rightsDropped]!++
        areLost = true
      } else {
        this.#count[C.rightsTaken]!++
        rights.push(taken)
      }
    }
    return { rights, areLost }
  }

  /** The message is lost, and all rights with it. */
  loseRights({ rights }: Ancillary): void {
    this.#count[C.rightsDropped]! += rights.length
    for (const right of rights) this.loseRight(right)
  }

  loseRight(right: Right): void {
    this.#sockets.post(right.cpu, right.type === 'socket' ? Op.lose : Op.release, right.id)
  }

  /** Takes what was sent along from a packet, and gives it up. */
  strip(packet: Address): void {
    const address = this.#packets.ancillary(packet)
    if (address === 0) return
    if (this.#packets.rights(packet) > 0) this.loseRights(this.read(address))
    this.#packets.attach(packet, 0, 0, 0)
    this.#packets.mbufs.free(address)
  }

  /**
   * The right to send to a port, to be sent along with a message; `onReleased` is called, on this CPU, when it is over.
   * @throws KernelError ENFILE where this CPU has made 1024 that are not over
   */
  make(port: PortId, onReleased: () => void): LocalPort {
    if (this.#made.size >= Limits.localPortRights) {
      const sentence = `cpu ${this.#cpu.index} has given out ${Limits.localPortRights} rights of ports, which is the limit: have some closed`
      throw new KernelError(Errno.ENFILE, sentence, 'portRight')
    }
    while (this.#made.has(this.#nextRight)) this.#nextRight = (this.#nextRight + 1) >>> 0
    const id = this.#nextRight++
    this.#made.set(id, onReleased)
    return this.#hold(port, this.#cpu.index, id)
  }

  /** A right that was made here is over. */
  released(id: number): void {
    const onReleased = this.#made.get(id)
    assert(onReleased !== undefined, 'a right is given up once')
    this.#made.delete(id)
    this.#sockets.call(onReleased)
  }

  /** Rights of ports that were made here and are not over. */
  get madeCount(): number {
    return this.#made.size
  }

  #take(right: Right): LocalRight | undefined {
    if (right.type === 'port') return this.#hold(right.port, right.cpu, right.id)
    const here = this.#sockets.endOf(right)
    if (here !== undefined) {
      here.unwrap()
      return here
    }
    const socket = this.#sockets.arriving(right.kind)
    if (socket !== undefined) this.#sockets.post(right.cpu, Op.take, right.id, this.#cpu.index, socket.id)
    return socket
  }

  #hold(port: PortId, cpu: number, id: number): LocalPort {
    const right = new LocalPort(this.#sockets, port, { cpu, id })
    this.ports.add(right)
    return right
  }
}

const NO_RIGHTS = { rights: [], areLost: false } as const
