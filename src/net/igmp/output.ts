// IGMP out: writes reports and leaves, and sends them to where each version wants them, with a time to live of 1 and the
// router alert (RFC 2236 2, RFC 3376 4). Runs on the control CPU.
import { finish } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import { Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { GroupCounters } from '../counters.ts'
import type { Interface } from '../interface.ts'
import { IpHeader, IpProtocol } from '../ip/header.ts'
import type { MulticastOutput } from '../ip/multicast.ts'
import { IgmpHeader, IgmpRecord, type IgmpRecordType, IgmpReport, IgmpType } from './header.ts'

const C = GroupCounters.index
/** RFC 2236 9, RFC 3376 4.2.14. */
const ALL_ROUTERS = Uint8Array.of(224, 0, 0, 2)
const ALL_IGMP3_ROUTERS = Uint8Array.of(224, 0, 0, 22)
/** Internetwork control (RFC 3376 4). */
const TRAFFIC_CLASS = 0xc0
const IP_BYTES = IpHeader.size + 4
const TARGET_BYTES = 4
/** A record is 8 bytes: as many as fit into one mbuf of any link. */
const RECORDS_MAX = 128

/** What a report of version 3 says of a group. */
export interface IgmpEntry {
  readonly type: IgmpRecordType
  readonly group: Uint8Array
}

export class IgmpOutput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #output: MulticastOutput
  /** Where the bytes of a message's target lie while it is sent. */
  readonly #target: Address

  constructor(context: NetContext, output: MulticastOutput) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(GroupCounters)
    this.#output = output
    this.#target = context.cpu.slab.allocate(64) + 16
    context.cpu.onStop(() => context.cpu.slab.free(this.#target - 16))
  }

  /** A report of version 1 or 2: to the group itself, so that its other members hear it. */
  report(iface: Interface, version: 1 | 2, group: Uint8Array): void {
    this.#count[C.sentReports]!++
    this.#message(iface, version === 1 ? IgmpType.report1 : IgmpType.report2, group, group)
  }

  leave(iface: Interface, group: Uint8Array): void {
    this.#count[C.sentLeaves]!++
    this.#message(iface, IgmpType.leave, group, ALL_ROUTERS)
  }

  /** Reports of version 3, as few as carry all entries. */
  reportAll(iface: Interface, entries: readonly IgmpEntry[]): void {
    const fitting = Math.floor((iface.info.mtu - IP_BYTES - IgmpReport.size) / IgmpRecord.size)
    const each = Math.min(RECORDS_MAX, Math.max(1, fitting))
    for (let i = 0; i < entries.length; i += each) this.#report3(iface, entries.slice(i, i + each))
  }

  #message(iface: Interface, type: IgmpType, group: Uint8Array, target: Uint8Array): void {
    const at = this.#begin(IgmpHeader.size)
    if (at === 0) return
    this.#context.u8[at] = type
    this.#context.u8.set(group, at + IgmpHeader.offset.group)
    this.#send(iface, target)
  }

  #report3(iface: Interface, entries: readonly IgmpEntry[]): void {
    const { u8, view } = this.#context
    const at = this.#begin(IgmpReport.size + entries.length * IgmpRecord.size)
    if (at === 0) return
    this.#count[C.sentReports]!++
    u8[at] = IgmpType.report3
    view.setUint16(at + IgmpReport.offset.records, entries.length)
    entries.forEach(({ type, group }, i) => {
      const record = at + IgmpReport.size + i * IgmpRecord.size
      u8[record] = type
      u8.set(group, record + IgmpRecord.offset.group)
    })
    this.#send(iface, ALL_IGMP3_ROUTERS)
  }

  /** A packet of so many zeros, and `#m` at it. Returns where they begin, or 0. */
  #begin(bytes: number): Address {
    const { mbufs, u8 } = this.#context
    const packet = mbufs.allocate()
    if (packet === 0) {
      this.#count[C.sendErrors]!++
      return 0
    }
    this.#m.at = packet
    const at = mbufs.extend(packet, bytes)
    u8.fill(0, at, at + bytes)
    return at
  }

  /** Sends the packet that `#m` is at. */
  #send(iface: Interface, target: Uint8Array): void {
    const { u8, view, routines } = this.#context
    const m = this.#m
    const packet = m.at
    u8.set(target.subarray(0, TARGET_BYTES), this.#target)
    view.setUint16(m.data + IgmpHeader.offset.checksum, finish(routines.sum(m.data, m.length, 0)))
    m.source = iface.sourceFor(u8, Family.inet, this.#target)
    m.target = this.#target
    m.protocol = IpProtocol.igmp
    m.ttl = 1
    m.trafficClass = TRAFFIC_CLASS
    this.#count[C.sent]!++
    if (this.#output.outputAlert(packet, iface) !== 0) this.#count[C.sendErrors]!++
  }
}
