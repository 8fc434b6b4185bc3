// Reassembly of the workload "hard-part": datagrams in fragments, which come to the CPU that owns their addresses or to another
// one, all of a datagram to the same, as from a network card that knows no ports in a fragment. Every CPU has senders of its own,
// of which so many datagrams are under way at most that none is dropped.
import { Random } from '../../base/random.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import type { Address, Thread } from '../../kernel.ts'
import { Family } from '../../net/address.ts'
import type { NetContext } from '../../net/context.ts'
import { Dispatch } from '../../net/dispatch/dispatch.ts'
import { IpFragment, IpHeader } from '../../net/ip/header.ts'
import { Reassembly } from '../../net/ip/reassembly.ts'
import { dispatchPlan } from '../../net/policy.ts'
import { addressHash } from '../../net/toeplitz.ts'
import { LockedReassembly, LockedReassemblyLimits } from '../rival/reassembly.ts'
import { isPublished } from '../rival/shared.ts'
import { HardPartCounters, type PartSetup, RIVAL, TURN_PACKETS, type WorkingPart } from './hard-part-setup.ts'

const C = HardPartCounters.index
const AT = IpHeader.offset
const HEADER_BYTES = 20
/** Few, so that it is not copying that is measured. */
const DATA_BYTES = 64
/** Of a datagram. */
const FRAGMENTS = 4
/** Datagrams of each CPU that are under way at most. */
const WINDOW = 64
/** Senders of each CPU to each owner: a power of two. */
const SENDERS = 16
/** Where datagrams come to, again and again: a power of two. */
const ARRIVALS = 4096
const PROTOCOL_UDP = 17

/** Takes a fragment where it came. */
type Input = (packet: Address) => void

interface Sender {
  readonly address: number
  /** Of its address and ours: who owns the datagrams. */
  readonly hash: number
}

export function* reassemblyPart(thread: Thread, setup: PartSetup): Generator<void, WorkingPart, void> {
  const { context, data, count } = setup
  const { cpu, mbufs, view } = context
  const m = context.mbuf()
  const delivered = new Delivered(context)
  const onWhole = (packet: Address) => {
    m.at = packet
    delivered.add(context.u8[m.data + AT.source + 1]!)
    mbufs.free(packet)
    count[C.packets]!++
  }
  const input = yield* data.form === 'messages' ? owned(thread, context, m, onWhole) : locked(thread, setup, onWhole)
  const random = new Random(data.seed).fork(cpu.index)
  const senders = context.config.cpus.map((owner) => sendersTo(context, owner))
  const owners = Uint8Array.from({ length: ARRIVALS }, () => {
    const away = random.chance(data.away) ? 1 + random.below(data.cpus - 1) : 0
    return (cpu.index + away) % data.cpus
  })
  const template = templateOf(context)
  let sent = 0
  const arrive = ({ address, hash }: Sender, fragment: number) => {
    const packet = mbufs.copyIn(template, HEADER_BYTES + DATA_BYTES)
    m.at = packet
    // What a network card says of a packet.
    m.hash = hash
    m.flags |= MbufFlag.HASHED
    const header = m.data
    view.setUint16(header + AT.identification, sent & 0xffff)
    view.setUint32(header + AT.source, address)
    const more = fragment < FRAGMENTS - 1 ? IpFragment.moreFragments : 0
    view.setUint16(header + AT.flagsAndOffset, more | ((fragment * DATA_BYTES) >> 3))
    input(packet)
  }
  return {
    work() {
      delivered.publish()
      const began = sent
      const end = Math.min(sent + TURN_PACKETS / FRAGMENTS, delivered.own + WINDOW)
      for (; sent < end; sent++) {
        const sender = senders[owners[sent & (ARRIVALS - 1)]!]![sent & (SENDERS - 1)]!
        for (let fragment = 0; fragment < FRAGMENTS; fragment++) arrive(sender, fragment)
      }
      return sent - began
    },
  }
}

/** Datagrams that have become whole, by the CPU that they came to: in the region "probe", which nobody else uses here. */
class Delivered {
  readonly #i32: Int32Array
  readonly #first: number
  readonly #cpu: number
  /** Since they were published last. */
  readonly #counts: Int32Array

  constructor({ cpu, memory }: NetContext) {
    this.#i32 = memory.i32
    this.#first = (memory.layout.region('probe').address + 64) >> 2
    this.#cpu = cpu.index
    this.#counts = new Int32Array(cpu.cpus)
  }

  add(cpu: number): void {
    this.#counts[cpu]!++
  }

  /** Once in a turn. */
  publish(): void {
    for (let cpu = 0; cpu < this.#counts.length; cpu++) {
      if (this.#counts[cpu] === 0) continue
      Atomics.add(this.#i32, this.#first + cpu * 16, this.#counts[cpu]!)
      this.#counts[cpu] = 0
    }
  }

  /** Of those that came here, wherever they became whole. */
  get own(): number {
    return Atomics.load(this.#i32, this.#first + this.#cpu * 16)
  }
}

/** As the stack has it: each fragment goes to the CPU that owns its addresses. */
function* owned(thread: Thread, context: NetContext, m: MbufCursor, onWhole: Input): Generator<void, Input, void> {
  const { cpu, members } = context
  const reassembly = new Reassembly(context)
  reassembly.onWhole = onWhole
  const dispatch = new Dispatch(context, dispatchPlan({}), (packet) => reassembly.input(packet, HEADER_BYTES))
  yield* thread.until(() => members.every((each) => cpu.ports.find(context.portName('netisr', each)) !== undefined))
  return (packet) => {
    m.at = packet
    dispatch.steer(packet)
  }
}

/** One table for all, under one lock or many. */
function* locked(thread: Thread, { context, data }: PartSetup, onWhole: Input): Generator<void, Input, void> {
  const { cpu } = context
  const shards = data.form === 'lock' ? 1 : LockedReassemblyLimits.shards
  let table: LockedReassembly
  if (cpu.index === 0) table = LockedReassembly.create(context, RIVAL, shards)
  else {
    yield* thread.until(() => isPublished(cpu, RIVAL))
    table = LockedReassembly.attach(context, RIVAL, shards)
  }
  table.onWhole = onWhole
  return (packet) => table.input(packet, HEADER_BYTES)
}

/** This CPU's senders whose datagrams another CPU, or this one, owns. The second number of their addresses is this CPU's. */
function sendersTo(context: NetContext, owner: number): Sender[] {
  const { cpu, u8, view, scratch } = context
  u8.set([10, 0, 0, 1], scratch + 4)
  const senders: Sender[] = []
  for (let address = 0x0a000002 | (cpu.index << 16); senders.length < SENDERS; address++) {
    view.setUint32(scratch, address)
    const hash = addressHash(u8, Family.inet, scratch, scratch + 4)
    if (context.owner(hash) === owner) senders.push({ address, hash })
  }
  return senders
}

function templateOf({ cpu, u8, view }: NetContext): Address {
  const template = cpu.slab.allocate(256) + 64
  u8.fill(0, template, template + HEADER_BYTES + DATA_BYTES)
  view.setUint16(template, 0x4500)
  view.setUint16(template + AT.totalLength, HEADER_BYTES + DATA_BYTES)
  u8[template + AT.protocol] = PROTOCOL_UDP
  u8.set([10, 0, 0, 1], template + AT.destination)
  return template
}
