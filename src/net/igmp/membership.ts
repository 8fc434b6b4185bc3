// The host's side of IGMP: tells the routers of each Ethernet link which groups somebody here has joined. Runs on the control
// CPU, where each change of the host's groups comes by first. Read RFC 2236 3 and 6 first, whose states these are:
//
//   joined ──report──► delaying ──timer: report──► idle ──query──► delaying ...      left: leave, if the last report was ours
//                         └── another host's report: not ours ──┘
//
// It speaks version 2, which every router understands; version 1 or 3 as soon as a querier of that version is heard. Of version 3
// (RFC 3376) it uses what a host without source filters needs: a record for each group, that excludes no source or includes none. @rfc 1122 3.2.3
// It never listens for what a single source sends: filters by source are the sockets'.
import type { Address } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import { addressBytes, Family, isUnspecified } from '../address.ts'
import type { NetContext } from '../context.ts'
import { GroupCounters } from '../counters.ts'
import { type Groups, isAllSystems, type Membership } from '../group.ts'
import type { Interface } from '../interface.ts'
import {
  IgmpHeader,
  IgmpQuery,
  IgmpRecordType,
  IgmpType,
  type IgmpVersion,
  igmpMaxResponseUs,
  igmpQueryVersion,
} from './header.ts'
import type { IgmpOutput } from './output.ts'

const C = GroupCounters.index
const INET = Family.inet
/** RFC 2236 8.10 and RFC 3376 8.11: in what time the first report is repeated. */
const UNSOLICITED_US = { 1: 10_000_000, 2: 10_000_000, 3: 1_000_000 } as const
/** RFC 3376 8.1: how often version 3 says a change, in all, where no querier says otherwise. */
const ROBUSTNESS = 2
/** How long a querier of an older version is remembered: RFC 2236 4, and RFC 3376 8.12 with its defaults. */
const VERSION1_US = 400_000_000
const VERSION2_US = 260_000_000

/** A group of the host's on one link. */
interface Group {
  readonly link: Link
  readonly bytes: Uint8Array
  /** Whether the last report that was heard of it was ours: then the leave is ours as well. */
  isReporter: boolean
  /** Version 3: how often the last change is still to be said. */
  changes: number
  /** Version 3: nobody is a member any more, and the routers are still being told so. */
  isLeft: boolean
  readonly timer: Delay
}

export class IgmpMembership {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #output: IgmpOutput
  /** By the interface's index. */
  readonly #links: Link[] = []

  constructor(context: NetContext, groups: Groups, output: IgmpOutput) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(GroupCounters)
    this.#output = output
    if (!context.isControl) return
    groups.onJoined = (membership) => this.#join(membership)
    groups.onLeft = (membership) => this.#leave(membership)
  }

  /** A message that input.ts has looked at. Does not own it. */
  message(packet: Address): void {
    const { u8 } = this.#context
    const m = this.#m
    m.at = packet
    const link = this.#linkOf(m.interfaceIndex)
    if (link === undefined) return
    const header = m.data
    const at = header + IgmpHeader.offset.group
    const bytes = u8.slice(at, at + addressBytes(INET))
    if (u8[header] !== IgmpType.query) return this.#heard(link, bytes)
    const version = igmpQueryVersion(u8, header, m.length)
    const maximumUs = igmpMaxResponseUs(u8[header + IgmpHeader.offset.maxResponse]!, version)
    if (version === 3) link.robustness = u8[header + IgmpQuery.offset.robustness]! & 7 || ROBUSTNESS
    this.#hearQuerier(link, version)
    this.#query(link, isUnspecified(u8, INET, at) ? undefined : bytes, maximumUs)
  }

  /** Which version is spoken, from now on. Who changes it forgets what was to be said in the other one (RFC 3376 7.2.1). */
  #hearQuerier(link: Link, version: IgmpVersion): void {
    const before = this.#version(link)
    const now = this.#now()
    if (version === 1) link.version1UntilUs = now + VERSION1_US
    else if (version === 2) link.version2UntilUs = now + VERSION2_US
    else link.hasVersion3 = true
    if (this.#version(link) === before) return
    link.general.cancel()
    for (const group of [...link.groups]) {
      group.timer.cancel()
      group.changes = 0
      if (group.isLeft) link.remove(group)
    }
  }

  #query(link: Link, asked: Uint8Array | undefined, maximumUs: number): void {
    if (asked === undefined && this.#version(link) === 3) {
      // One answer for all groups (RFC 3376 5.2).
      if (link.groups.length > 0) link.general.within(maximumUs, () => this.#answerGeneral(link))
      return
    }
    for (const group of link.groups) {
      if (group.isLeft || (asked !== undefined && !isSame(group.bytes, asked))) continue
      group.timer.within(maximumUs, () => this.#answer(group))
    }
  }

  /** Another host has reported: one report is enough for versions 1 and 2. */
  #heard(link: Link, bytes: Uint8Array): void {
    if (this.#version(link) === 3) return
    const group = link.find(bytes)
    if (group === undefined || !group.timer.isPending) return
    group.timer.cancel()
    group.isReporter = false
    this.#count[C.suppressed]!++
  }

  #join({ family, interfaceIndex, address }: Membership): void {
    const { u8, cpu } = this.#context
    const link = this.#linkOf(interfaceIndex)
    if (link === undefined || family !== INET || isAllSystems(u8, family, address)) return
    const bytes = u8.slice(address, address + addressBytes(INET))
    const before = link.find(bytes)
    if (before !== undefined) link.remove(before)
    const timer = new Delay(cpu)
    const group: Group = { link, bytes, isReporter: false, changes: link.robustness, isLeft: false, timer }
    link.groups.push(group)
    this.#change(group)
  }

  #leave({ family, interfaceIndex, address }: Membership): void {
    const link = this.#linkOf(interfaceIndex)
    if (link === undefined || family !== INET) return
    const group = link.find(this.#context.u8.slice(address, address + addressBytes(INET)))
    if (group === undefined) return
    group.timer.cancel()
    const version = this.#version(link)
    if (version === 3) {
      group.isLeft = true
      group.changes = link.robustness
      this.#change(group)
      return
    }
    link.remove(group)
    if (version === 2 && group.isReporter) this.#output.leave(link.iface, group.bytes)
  }

  /** Says at once that a group was joined, or for version 3 left, and again after a while. */
  #change(group: Group): void {
    const version = this.#version(group.link)
    if (version !== 3) group.changes = 0
    this.#report(group, version)
    if (version === 3 && --group.changes === 0) {
      if (group.isLeft) group.link.remove(group)
      return
    }
    group.timer.start(UNSOLICITED_US[version], () => this.#answer(group))
  }

  /** The timer of a group has run down. */
  #answer(group: Group): void {
    const version = this.#version(group.link)
    if (version === 3 && group.changes > 0) return this.#change(group)
    this.#report(group, version)
  }

  #report(group: Group, version: IgmpVersion): void {
    const { link, bytes } = group
    if (version === 3) {
      const now = group.isLeft ? IgmpRecordType.toInclude : IgmpRecordType.toExclude
      this.#output.reportAll(link.iface, [{ type: group.changes > 0 ? now : IgmpRecordType.isExclude, group: bytes }])
      return
    }
    group.isReporter = true
    this.#output.report(link.iface, version, bytes)
  }

  #answerGeneral(link: Link): void {
    const entries = link.groups
      .filter(({ isLeft }) => !isLeft)
      .map(({ bytes }) => ({ type: IgmpRecordType.isExclude, group: bytes }))
    this.#output.reportAll(link.iface, entries)
  }

  #version(link: Link): IgmpVersion {
    const now = this.#now()
    if (now < link.version1UntilUs) return 1
    if (now < link.version2UntilUs) return 2
    return link.hasVersion3 ? 3 : 2
  }

  #now(): number {
    return this.#context.cpu.now
  }

  /** Undefined where nobody is to be told: on links without Ethernet, and before there is an address to tell it from. */
  #linkOf(interfaceIndex: number): Link | undefined {
    const known = this.#links[interfaceIndex]
    if (known !== undefined) return known
    const iface = this.#context.interfaces[interfaceIndex]
    if (iface === undefined || iface.info.framing !== 'ethernet') return undefined
    if (!iface.addresses.some(({ family }) => family === INET)) return undefined
    const link = new Link(iface, new Delay(this.#context.cpu))
    this.#links[interfaceIndex] = link
    return link
  }
}

/** One interface. */
class Link {
  readonly iface: Interface
  readonly groups: Group[] = []
  /** When a general query of version 3 is answered. */
  readonly general: Delay
  version1UntilUs = 0
  version2UntilUs = 0
  hasVersion3 = false
  robustness = ROBUSTNESS

  constructor(iface: Interface, general: Delay) {
    this.iface = iface
    this.general = general
  }

  find(bytes: Uint8Array): Group | undefined {
    return this.groups.find((group) => isSame(group.bytes, bytes))
  }

  remove(group: Group): void {
    group.timer.cancel()
    this.groups.splice(this.groups.indexOf(group), 1)
  }
}

/** A timer of random length. */
class Delay {
  readonly #cpu: NetContext['cpu']
  #cancel: (() => void) | undefined = undefined
  #endUs = 0

  constructor(cpu: NetContext['cpu']) {
    this.#cpu = cpu
  }

  get isPending(): boolean {
    return this.#cancel !== undefined
  }

  /** Runs `run` within `maximumUs`; what was to run before does not. */
  start(maximumUs: number, run: () => void): void {
    this.cancel()
    const delayUs = this.#cpu.random.below(maximumUs)
    this.#endUs = this.#cpu.now + delayUs
    this.#cancel = this.#cpu.timers.after(delayUs, () => {
      this.#cancel = undefined
      run()
    })
  }

  /** As `start`, but what runs within that time anyway is left alone (RFC 2236 3). */
  within(maximumUs: number, run: () => void): void {
    if (this.isPending && this.#endUs <= this.#cpu.now + maximumUs) return
    this.start(maximumUs, run)
  }

  cancel(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i])
}
