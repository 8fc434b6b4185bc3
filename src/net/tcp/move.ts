// Moves all connections of a host from the groups of one discipline to those of another. For change.ts, on one CPU while all others are held.
import type { Address } from '../../base/struct.ts'
import type { SharedTimers } from '../../kernel/shared-timer.ts'
import { putTimer, takeTimer } from '../../kernel/timer.ts'
import type { Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { flowHash } from '../toeplitz.ts'
import { addShell } from './connection.ts'
import { GroupRecord, type GroupSet } from './groupset.ts'
import { Embryo, TcpPcb, TimeWait, TupleKind } from './pcb.ts'
import type { Tcp } from './tcp.ts'
import { link } from './timewait.ts'

const C = TcpCounters.index
const { sndTimer: SND, ackTimer: ACK, slowTimer: SLOW } = TcpPcb.offset
const OUTPUT_NEXT = TcpPcb.offset.outputNext >> 2
const EVENT_NEXT = TcpPcb.offset.eventNext >> 2
const NEXT = TcpPcb.offset.next >> 2
const NOW = GroupRecord.offset.now >> 3

/** All that the groups have: records in the tables, and those in lists, each in its order. */
interface Holdings {
  readonly embryos: Address[]
  readonly timeWaits: Address[]
  readonly connections: Address[]
  readonly output: Address[]
  readonly events: Address[]
  readonly dead: Address[]
  readonly shells: Address[]
  /** The latest time that any of the groups has had, µs. */
  readonly now: number
}

/** From here on this CPU, and each when it adopts them, has the groups of `to` in use. */
export function move(t: Tcp, to: GroupSet): void {
  const { groups } = t
  const from = groups.set
  const all = collect(t, from)
  groups.use(to)
  t.cpu.refresh()
  const now = Math.max(all.now, t.cpu.now)
  for (let i = 0; i < to.count; i++) t.f64[(to.at(i) >> 3) + NOW] = now
  const timers = from.isLocked === to.isLocked ? undefined : to.isLocked ? t.sharedTimers() : CPU
  for (const record of all.embryos) {
    const home = insert(t, to, record)
    t.embryos++
    moveTimer(t, timers, home, record + Embryo.offset.timer)
  }
  moveTimeWaits(t, to, all.timeWaits, timers)
  moveConnections(t, to, all, timers)
  groups.alone(0)
}

function collect(t: Tcp, from: GroupSet): Holdings {
  const { groups, words } = t
  const embryos: Address[] = []
  const timeWaits: Address[] = []
  const connections: Address[] = []
  for (const table of from.tables()) {
    groups.alone(table)
    t.table.forAll((record) => {
      t.tuple.at = record
      const { kind } = t.tuple
      const list = kind === TupleKind.embryo ? embryos : kind === TupleKind.timeWait ? timeWaits : connections
      list.push(record)
    })
  }
  const lists = { output: [] as Address[], events: [] as Address[], dead: [] as Address[], shells: [] as Address[] }
  const gather = (list: Address[], first: Address, next: number) => {
    for (let pcb = first; pcb !== 0; pcb = words[(pcb >> 2) + next]!) list.push(pcb)
  }
  let now = 0
  for (let i = 0; i < from.count; i++) {
    groups.alone(from.at(i))
    gather(lists.output, t.outputFirst, OUTPUT_NEXT)
    gather(lists.events, t.eventFirst, EVENT_NEXT)
    gather(lists.dead, t.deadFirst, EVENT_NEXT)
    gather(lists.shells, t.shellFirst, NEXT)
    now = Math.max(now, t.f64[(from.at(i) >> 3) + NOW]!)
  }
  groups.alone(0)
  return { embryos, timeWaits, connections, ...lists, now }
}

/** The record's group, as the two ends say: this CPU then stands in it. Returns the CPU that it is at home on. */
function stand(t: Tcp, to: GroupSet, record: Address): number {
  const { tuple } = t
  tuple.at = record
  const { family, local, remote, localPort, remotePort } = tuple
  const group = to.of(flowHash(t.u8, family as Family, local, remote, localPort, remotePort))
  tuple.group = group
  t.groups.alone(group)
  return t.context.config.cpus[to.homeOf(to.indexOf(group))]!
}

function insert(t: Tcp, to: GroupSet, record: Address): number {
  const home = stand(t, to, record)
  t.table.insert(t.tuple)
  return home
}

function moveTimeWaits(t: Tcp, to: GroupSet, records: Address[], timers: TimersOf): void {
  // The oldest first, as the lists have them.
  const deadline = TimeWait.offset.timer
  records.sort((a, b) => t.timers.deadline(a + deadline) - t.timers.deadline(b + deadline))
  for (const record of records) {
    const home = insert(t, to, record)
    link(t, record)
    t.timeWaits++
    moveTimer(t, timers, home, record + TimeWait.offset.timer)
  }
}

function moveConnections(t: Tcp, to: GroupSet, all: Holdings, timers: TimersOf): void {
  const { p } = t
  for (const pcb of all.connections) insert(t, to, pcb)
  for (const pcb of new Set([...all.connections, ...all.output, ...all.events, ...all.dead, ...all.shells])) {
    const home = stand(t, to, pcb)
    t.connections++
    p.at = pcb
    if (!to.isLocked) p.teller = home
    for (const timer of [SND, ACK, SLOW]) moveTimer(t, timers, home, pcb + timer)
  }
  relink(t, to, all.output, OUTPUT_NEXT, 'outputFirst')
  relink(t, to, all.events, EVENT_NEXT, 'eventFirst')
  relink(t, to, all.dead, EVENT_NEXT, 'deadFirst')
  for (const pcb of all.shells.reverse()) {
    stand(t, to, pcb)
    p.at = pcb
    p.shell = 0
    addShell(t, p)
  }
}

/** Puts each to the front of its group's list: the last first. */
function relink(
  t: Tcp,
  to: GroupSet,
  pcbs: readonly Address[],
  next: number,
  head: 'outputFirst' | 'eventFirst' | 'deadFirst',
): void {
  for (const pcb of pcbs.toReversed()) {
    stand(t, to, pcb)
    t.words[(pcb >> 2) + next] = t[head]
    t[head] = pcb
  }
}

/** The kind of timers that records go to; undefined: they stay in the wheels where they are. */
type TimersOf = SharedTimers | typeof CPU | undefined
const CPU = 'of each CPU'

function moveTimer(t: Tcp, timers: TimersOf, home: number, timer: Address): void {
  if (timers === undefined) return
  const { memory } = t.context
  const taken = takeTimer(memory, timer)
  if (taken === undefined) return
  t.count[C.timersMoved]!++
  if (timers === CPU) putTimer(memory, home, timer, taken)
  else timers.put(home, timer, taken)
}
