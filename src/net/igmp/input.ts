// IGMP in. Runs on the owner of the pair of addresses: looks at the message, and passes what can be believed to the control
// CPU, where membership.ts does what it asks for. Queries and reports come from the link itself, and say so by a time to live of 1.
import { finish } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import { EASYNC } from '../../kernel/message.ts'
import type { PortId } from '../../kernel/port.ts'
import { equalAddress, Family, isUnspecified } from '../address.ts'
import type { NetContext } from '../context.ts'
import { GroupCounters } from '../counters.ts'
import { isAllSystems } from '../group.ts'
import { sumPacket } from '../ip/sum.ts'
import { checkIgmpHeader, IgmpDrop, IgmpHeader, IgmpType } from './header.ts'

const C = GroupCounters.index
const INET = Family.inet
const GROUP = IgmpHeader.offset.group

export class IgmpInput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  #control: PortId = 0
  /** Set by stack.ts, called on the control CPU: does not own the packet, whose data is a query or a report that was looked at. */
  onMessage: (packet: Address) => void = () => {}

  constructor(context: NetContext) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(GroupCounters)
    context.cpu.ports.create({
      name: context.portName('igmp', context.cpu.index),
      point: 'control',
      handler: (packet) => {
        this.#pass(packet)
        return EASYNC
      },
    })
  }

  /** A packet came; its data begins with the IGMP header, and its mbuf names the addresses. It owns the packet. */
  input(packet: Address): void {
    const { u8, routines, mbufs, checksums, isControl } = this.#context
    const m = this.#m
    m.at = packet
    this.#count[C.received]!++
    const header = m.data
    const drop = checkIgmpHeader(u8, header, m.length)
    if (drop !== IgmpDrop.none) return this.#drop(packet, REASONS[drop]!)
    if (checksums && finish(sumPacket(routines, m, packet, 0)) !== 0) return this.#drop(packet, C.droppedChecksum)
    m.at = packet
    const type = u8[header]!
    const isQuery = type === IgmpType.query
    // Those of routers to each other, and other hosts' leaves and reports of version 3, are none of a host's business.
    if (!isQuery && type !== IgmpType.report1 && type !== IgmpType.report2) return this.#drop(packet, C.ignored)
    // A router would have counted it down: it has come from another network.
    if (m.ttl !== 1) return this.#drop(packet, C.droppedTtl)
    if (!this.#isRightTarget(m.target, header + GROUP, isQuery)) return this.#drop(packet, C.droppedTarget)
    this.#count[isQuery ? C.queries : C.reports]!++
    if (isControl) return this.#pass(packet)
    this.#control ||= this.#context.cpu.ports.lookup(this.#context.portName('igmp', this.#context.controlCpu))
    mbufs.handOff(this.#control, packet)
  }

  /** General queries go to all systems, all others to the group that they are about (RFC 2236 9, RFC 3376 4.1.12 and 9.1). */
  #isRightTarget(target: Address, group: Address, isQuery: boolean): boolean {
    const { u8 } = this.#context
    if (isQuery && isUnspecified(u8, INET, group)) return isAllSystems(u8, INET, target)
    return equalAddress(u8, target, group, INET)
  }

  #pass(packet: Address): void {
    this.onMessage(packet)
    this.#context.mbufs.free(packet)
  }

  #drop(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
  }
}

const REASONS: { readonly [drop: number]: number } = {
  [IgmpDrop.short]: C.droppedShort,
  [IgmpDrop.length]: C.droppedLength,
  [IgmpDrop.group]: C.droppedGroup,
}
