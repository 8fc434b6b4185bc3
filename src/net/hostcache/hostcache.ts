// The host cache: what connections to a destination have found out, for the next one to begin with (RFC 9040; as FreeBSD's
// tcp_hostcache, but without its locks). Each CPU of a host has a replica that it reads at once, at connect and accept;
// what changes goes by messages, and nobody waits for anybody.
//
// Each destination has a home among the host's CPUs, chosen by its address. News go there, the home makes one value of
// them, and this value goes round:
//
//     a connection closes on X            X: own replica, at once
//     X ── news: what X has heard ──────► home: merges, counts a version
//     X ◄─ the answer: merged, version ── home
//     home ── tell: merged, version ──► Y ──► Z ──► X ──► home
//
// What makes all replicas the same when all is quiet: only the home decides, a replica takes its newest version whatever
// came on which way (a tell may overtake an answer), and every merge is followed by a tell. The path's MTU needs no home to
// decide, for the one that was learned last is the right one; it goes the same ways.
//
// A destination's record embeds its message, as an mbuf does, so that telling allocates nothing, cannot fail for want of
// memory, and has a bound: one message under way for each record. Another leaves 100 ms after the last one at the earliest, with
// all that was heard until then. For the same reason a tell goes from CPU to CPU and is not sent to each.
//
// It is a cache: without memory, or where too much is new at once, something is not remembered, and that is counted.
//
//     record (256 bytes):  | HostMetrics 128 | message 112 | unused 16 |
import { assert } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import { hashName } from '../../base/hash.ts'
import { type Address, bytes, f64, i32, struct, u8, u16, u32 } from '../../base/struct.ts'
import { counterSet } from '../../kernel/counters.ts'
import { define } from '../../kernel/function.ts'
import { EASYNC, initialize, message } from '../../kernel/message.ts'
import type { Port, PortId } from '../../kernel/port.ts'
import { Timer } from '../../kernel/timer.ts'
import { addressBytes, equalAddress, Family, formatAddress } from '../address.ts'
import type { NetContext } from '../context.ts'
import { addressHash } from '../toeplitz.ts'

/** A destination as this CPU knows it. Of the five values 0 says: not known. Only the host cache writes. */
export const HostMetrics = struct({
  next: u32, //              0  in the chain of its bucket
  hash: i32, //              4  of the address
  newer: u32, //             8  the next more recently used
  older: u32, //            12
  rttUs: u32, //            16  smoothed round-trip time
  rttvarUs: u32, //         20  and its variation
  ssthreshBytes: u32, //    24  slow start threshold
  cwndBytes: u32, //        28  congestion window
  mtu: u32, //              32  of the path: largest IP packet
  flags: u16, //            36
  family: u8, //            38
  padding: u8, //           39
  metricsAt: f64, //        40  µs: when the first four were last heard of
  mtuAt: f64, //            48  µs: when the MTU was learned
  sentAt: f64, //           56  µs: when the message last left
  version: f64, //          64  the home's count of merges that the first four are of
  newRttUs: u32, //         72  what was heard here and the home was not told yet
  newRttvarUs: u32, //      76
  newSsthreshBytes: u32, // 80
  newCwndBytes: u32, //     84
  timer: bytes(Timer.size), // 88  when the next message may leave
  unused: bytes(8),
})
assert(HostMetrics.size === 128, 'what is known of a destination is two cache lines')

export type HostMetricsCursor = ReturnType<(typeof HostMetrics)['cursor']>

const HostMessage = message('hostcache', {
  address: bytes(16), //   48  constant: also what the record is found by
  metricsAt: f64, //       64
  mtuAt: f64, //           72
  version: f64, //         80
  rttUs: u32, //           88  of news: what was heard; of a tell, and of an answer: the home's values
  rttvarUs: u32, //        92
  ssthreshBytes: u32, //   96
  cwndBytes: u32, //      100
  mtu: u32, //            104
  family: u8, //          108
  kind: u8, //            109
  position: u16, //       110  of a tell: where the round goes next
})
type HostMessageCursor = ReturnType<(typeof HostMessage)['cursor']>
const MESSAGE = HostMetrics.size
const ADDRESS = MESSAGE + HostMessage.offset.address
const TIMER = HostMetrics.offset.timer
const RECORD_BYTES = 256
assert(MESSAGE + HostMessage.size <= RECORD_BYTES, 'a record and its message are one object')

const Kind = { news: 1, tell: 2 } as const
const Flag = {
  /** This CPU is the destination's home. */
  HOME: 1 << 0,
  /** The message is somewhere else: the record stays, and nothing of the message but its address is touched. */
  UNDER_WAY: 1 << 1,
  /** There is something to send. */
  CHANGED: 1 << 2,
} as const

export const HostCacheLimits = {
  /** Destinations that a replica knows. The least recently used goes first. */
  entries: 1024,
  /** How many are looked at for one that can go: those whose message is under way cannot. */
  evictionLooks: 8,
  /** The lifetime of the metrics, since they were last heard of. */
  metricsUs: 3_600_000_000,
  /** The lifetime of a path's MTU (RFC 1191 6.3, RFC 8201 4: ten minutes, and then a larger one is tried). */
  mtuUs: 600_000_000,
  /** Between two messages about one destination. */
  intervalUs: 100_000,
  /** No IPv4 path has less (RFC 791 3.2), and below 1280 an IPv6 host need not go (RFC 8200 5). */
  mtuMin: { [Family.inet]: 68, [Family.inet6]: 1280 },
  mtuMax: 65535,
} as const

/**
 * inserted = evicted + expired + present. At rest, while no port is missing or was closed, newsSent = newsReceived, and
 * tellsReceived is tellsSent for each other CPU.
 */
export const HostCacheCounters = counterSet('hostcache', [
  'lookups',
  'hits',
  /** Records that were looked at, for whatever reason. */
  'probes',
  'updates',
  'mtuUpdates',
  /** An MTU that cannot be: nobody believes it. */
  'mtuRefused',
  'newsSent',
  'newsReceived',
  /** The home had no memory, or is no more. */
  'newsRefused',
  'tellsSent',
  'tellsReceived',
  /** A CPU without this host's port. */
  'unreached',
  'inserted',
  'evicted',
  'expired',
  /** Not remembered: the messages of all that could go are under way. */
  'refused',
  /** Not remembered: there was no memory. */
  'noMemory',
] as const)
const C = HostCacheCounters.index

const BUCKETS = 1024
const BUCKET_SHIFT = 1 + Math.clz32(BUCKETS)
/** Before the buckets: an address of zeros. */
const ZEROS = 16
const FIRST_BUCKET = 64

/** What a connection has found out; 0 is what it has not. */
export interface Metrics {
  readonly rttUs: number
  readonly rttvarUs: number
  readonly ssthreshBytes: number
  readonly cwndBytes: number
}

/** An entry for a table that people read. */
export interface HostCacheEntry extends Metrics {
  readonly family: Family
  readonly address: string
  readonly mtu: number
  /** Since the last of it was heard of. */
  readonly ageUs: number
}

/** A host's cache on one CPU. Only that CPU calls; nothing blocks. Destinations are given as where the bytes of their address lie. */
export class HostCache {
  readonly #context: NetContext
  readonly #r: HostMetricsCursor
  readonly #m: HostMessageCursor
  readonly #count: Float64Array
  readonly #port: Port
  /** All CPUs with a replica: also of those that only have programs, which connect and listen. */
  readonly #cpus: readonly number[]
  readonly #ports: PortId[] = []
  /** A secret of this replica, so that nobody knows which addresses meet in a bucket. */
  readonly #keys: Int32Array
  readonly #room: Address
  #newest: Address = 0
  #oldest: Address = 0
  #size = 0
  /** Merges as a home. Never goes back, so that a record that is made anew has later versions than the one before it. */
  #version = 0

  constructor(context: NetContext) {
    const { cpu, config, memory } = context
    this.#context = context
    this.#r = HostMetrics.cursor(memory)
    this.#m = HostMessage.cursor(memory)
    this.#count = context.count(HostCacheCounters)
    this.#cpus = context.members
    const random = cpu.random.fork(hashName(`hostcache ${config.index}`))
    this.#keys = Int32Array.from({ length: 9 }, () => random.next())
    this.#room = cpu.slab.allocate(FIRST_BUCKET + BUCKETS * 4)
    context.u8.fill(0, this.#room, this.#room + FIRST_BUCKET + BUCKETS * 4)
    this.#port = cpu.ports.create({
      name: context.portName('hostcache', cpu.index),
      point: 'control',
      dispatch: 'deferred',
      handler: (m) => this.#onMessage(m),
      // At the same port, so that an answer is served in its order among the tells.
      onReply: (m) => this.#onReply(m),
    })
    cpu.slot(ALL, () => [] as HostCache[])[config.index] = this
    cpu.onStop(() => this.#end())
  }

  /** Destinations in this replica, those included whose time is over and that nobody has asked for since. */
  get size(): number {
    return this.#size
  }

  /**
   * The record of a destination, or 0. Read it through a cursor of HostMetrics, before anything else is done with the
   * host cache: a record that is not used for long makes room for others. What is too old reads as 0.
   */
  lookup(family: Family, address: Address): Address {
    this.#context.cpu.refresh()
    this.#count[C.lookups]!++
    const record = this.#find(family, address, this.#hash(family, address))
    if (record === 0) return 0
    if (this.#isOver(record)) {
      this.#expire(record)
      return 0
    }
    this.#use(record)
    this.#count[C.hits]!++
    return record
  }

  /** A connection to this destination is over. Here what it has found out is known at once, elsewhere soon. */
  update(family: Family, address: Address, metrics: Metrics): void {
    const rttUs = whole(metrics.rttUs)
    const rttvarUs = whole(metrics.rttvarUs)
    const ssthreshBytes = whole(metrics.ssthreshBytes)
    const cwndBytes = whole(metrics.cwndBytes)
    if (rttUs + rttvarUs + ssthreshBytes + cwndBytes === 0) return
    this.#context.cpu.refresh()
    this.#count[C.updates]!++
    const record = this.#obtain(family, address)
    if (record === 0) return
    this.#use(record)
    this.#isOver(record)
    const r = this.#r
    this.#merge(rttUs, rttvarUs, ssthreshBytes, cwndBytes, this.#context.cpu.now)
    if ((r.flags & Flag.HOME) === 0) {
      r.newRttUs = smooth(r.newRttUs, rttUs)
      r.newRttvarUs = smooth(r.newRttvarUs, rttvarUs)
      r.newSsthreshBytes = smooth(r.newSsthreshBytes, ssthreshBytes)
      r.newCwndBytes = smooth(r.newCwndBytes, cwndBytes)
    } else r.version = ++this.#version
    r.flags |= Flag.CHANGED
    this.#announce(record)
  }

  /** The path to this destination takes packets of so many bytes. The caller has made sure that it is no lie (RFC 5927 7). */
  updateMtu(family: Family, address: Address, mtu: number): void {
    if (mtu < HostCacheLimits.mtuMin[family] || mtu > HostCacheLimits.mtuMax) {
      this.#count[C.mtuRefused]!++
      return
    }
    this.#context.cpu.refresh()
    this.#count[C.mtuUpdates]!++
    const record = this.#obtain(family, address)
    if (record === 0) return
    this.#use(record)
    this.#isOver(record)
    this.#mergeMtu(mtu, this.#context.cpu.now)
    this.#r.flags |= Flag.CHANGED
    this.#announce(record)
  }

  /** All that is known here, the most recently used first. For tables: allocates. */
  entries(): readonly HostCacheEntry[] {
    const { cpu, u8: memory } = this.#context
    cpu.refresh()
    const r = this.#r
    const all: HostCacheEntry[] = []
    for (let record = this.#newest; record !== 0; record = r.older) {
      if (this.#isOver(record)) continue
      const { rttUs, rttvarUs, ssthreshBytes, cwndBytes, mtu } = r
      const family = r.family as Family
      const address = formatAddress(family, memory, record + ADDRESS)
      const hasMetrics = this.#hasMetrics()
      const heardAt = hasMetrics && mtu !== 0 ? Math.max(r.metricsAt, r.mtuAt) : hasMetrics ? r.metricsAt : r.mtuAt
      all.push({ family, address, rttUs, rttvarUs, ssthreshBytes, cwndBytes, mtu, ageUs: cpu.now - heardAt })
    }
    return all
  }

  /** Sends what has changed, or sees to it that it is sent as soon as it may be. */
  #announce(record: Address): void {
    const { cpu, config } = this.#context
    const r = this.#r
    r.at = record
    if ((r.flags & (Flag.CHANGED | Flag.UNDER_WAY)) !== Flag.CHANGED || this.#cpus.length === 1) return
    const waitUs = r.sentAt + HostCacheLimits.intervalUs - cpu.now
    if (waitUs <= 0) this.#send(record)
    else if (!cpu.timers.isArmed(record + TIMER)) cpu.timers.arm(record + TIMER, waitUs, ANNOUNCE, config.index)
  }

  /** Its time has come. For the timer. */
  announce(timer: Address): void {
    this.#announce(timer - TIMER)
  }

  #send(record: Address): void {
    const { cpu, memory } = this.#context
    cpu.timers.cancel(record + TIMER)
    const r = this.#r
    r.flags = (r.flags & ~Flag.CHANGED) | Flag.UNDER_WAY
    r.sentAt = cpu.now
    initialize(memory, record + MESSAGE, HostMessage.type, this.#port.id)
    this.#m.at = record + MESSAGE
    const sent = (r.flags & Flag.HOME) !== 0 ? this.#sendTell() : this.#sendNews()
    if (!sent) r.flags &= ~Flag.UNDER_WAY
  }

  /** The home says what is known. The cursors are at the record and its message. */
  #sendTell(): boolean {
    const m = this.#m
    this.#fill()
    m.kind = Kind.tell
    m.position = 0
    this.#count[C.tellsSent]!++
    return this.#pass(this.#context.cpu.index)
  }

  /** What was heard since the last time goes to the home. The cursors are at the record and its message. */
  #sendNews(): boolean {
    const r = this.#r
    const m = this.#m
    const port = this.#portOf(this.#homeOf(r.family as Family, r.at + ADDRESS))
    if (port === 0) {
      this.#count[C.unreached]!++
      return false
    }
    m.kind = Kind.news
    m.rttUs = r.newRttUs
    m.rttvarUs = r.newRttvarUs
    m.ssthreshBytes = r.newSsthreshBytes
    m.cwndBytes = r.newCwndBytes
    m.metricsAt = r.metricsAt
    m.mtu = r.mtu
    m.mtuAt = r.mtuAt
    r.newRttUs = 0
    r.newRttvarUs = 0
    r.newSsthreshBytes = 0
    r.newCwndBytes = 0
    this.#count[C.newsSent]!++
    this.#context.cpu.ports.send(port, m.at)
    return true
  }

  /** Writes what the record has to the message, both where the cursors are: what a home says. */
  #fill(): void {
    const r = this.#r
    const m = this.#m
    m.rttUs = r.rttUs
    m.rttvarUs = r.rttvarUs
    m.ssthreshBytes = r.ssthreshBytes
    m.cwndBytes = r.cwndBytes
    m.mtu = r.mtu
    m.metricsAt = r.metricsAt
    m.mtuAt = r.mtuAt
    m.version = r.version
  }

  /**
   * The tell that the cursor is at goes on to the next CPU of its round. False at the round's end, and then it is still
   * ours; a CPU that has no part of the host is passed over.
   */
  #pass(home: number): boolean {
    const { cpu } = this.#context
    const m = this.#m
    while (m.position < this.#cpus.length) {
      const target = this.#cpus[m.position++]!
      if (target === home) continue
      const port = this.#portOf(target)
      if (port === 0) this.#count[C.unreached]!++
      else {
        if (cpu.index === home) cpu.ports.send(port, m.at)
        else cpu.ports.forward(port, m.at)
        return true
      }
    }
    return false
  }

  #onMessage(at: Address): number {
    const m = this.#m
    m.at = at
    return m.kind === Kind.news ? this.#onNews(at) : this.#onTell(at)
  }

  /** We are the home: the news become part of what is known, and that is the answer. */
  #onNews(at: Address): number {
    const m = this.#m
    const r = this.#r
    this.#count[C.newsReceived]!++
    const record = this.#obtain(m.family as Family, at + HostMessage.offset.address)
    if (record === 0) return Errno.ENOMEM
    this.#isOver(record)
    // Without metrics no new version: a home that had to forget them does not have the others forget them as well.
    if (this.#merge(m.rttUs, m.rttvarUs, m.ssthreshBytes, m.cwndBytes, m.metricsAt)) r.version = ++this.#version
    this.#mergeMtu(m.mtu, m.mtuAt)
    this.#fill()
    r.flags |= Flag.CHANGED
    this.#announce(record)
    return 0
  }

  /** The home says what is known. Also who has never asked for the destination is to have it: a connection may come. */
  #onTell(at: Address): number {
    const m = this.#m
    this.#count[C.tellsReceived]!++
    const record = this.#obtain(m.family as Family, at + HostMessage.offset.address)
    if (record !== 0) this.#apply(record)
    return this.#pass(m.origin) ? EASYNC : 0
  }

  /** Our own message is back. */
  #onReply(at: Address): void {
    const { cpu } = this.#context
    const r = this.#r
    const m = this.#m
    const record = at - MESSAGE
    r.at = record
    m.at = at
    const errno = cpu.ports.error(at)
    if (m.kind === Kind.tell) {
      if (errno !== 0) {
        // A port was closed on the way: the round goes on behind it.
        this.#count[C.unreached]!++
        initialize(this.#context.memory, at, HostMessage.type, this.#port.id)
        if (this.#pass(cpu.index)) return
      }
    } else if (errno === 0) this.#apply(record)
    else this.#count[C.newsRefused]!++
    r.flags &= ~Flag.UNDER_WAY
    this.#announce(record)
  }

  /** Takes what the home says in the message that the cursor is at, if it is newer than what we have. */
  #apply(record: Address): void {
    const r = this.#r
    const m = this.#m
    r.at = record
    if (m.version > r.version) {
      r.version = m.version
      r.rttUs = m.rttUs
      r.rttvarUs = m.rttvarUs
      r.ssthreshBytes = m.ssthreshBytes
      r.cwndBytes = m.cwndBytes
      r.metricsAt = m.metricsAt
      // What was heard here just now, and the home will hear next, is not forgotten meanwhile.
      this.#merge(r.newRttUs, r.newRttvarUs, r.newSsthreshBytes, r.newCwndBytes, this.#context.cpu.now)
    }
    this.#mergeMtu(m.mtu, m.mtuAt)
  }

  /** Adds what was heard to the record that the cursor is at. False if it was nothing. */
  #merge(rttUs: number, rttvarUs: number, ssthreshBytes: number, cwndBytes: number, at: number): boolean {
    if (rttUs + rttvarUs + ssthreshBytes + cwndBytes === 0) return false
    const r = this.#r
    r.metricsAt = this.#hasMetrics() ? Math.max(r.metricsAt, at) : at
    r.rttUs = smooth(r.rttUs, rttUs)
    r.rttvarUs = smooth(r.rttvarUs, rttvarUs)
    r.ssthreshBytes = smooth(r.ssthreshBytes, ssthreshBytes)
    r.cwndBytes = smooth(r.cwndBytes, cwndBytes)
    return true
  }

  /** What was learned last holds; of what was learned at the same time, the smaller. So the order of coming is of no account. */
  #mergeMtu(mtu: number, at: number): void {
    const r = this.#r
    if (mtu === 0) return
    if (r.mtu !== 0 && (at < r.mtuAt || (at === r.mtuAt && mtu > r.mtu))) return
    r.mtu = mtu
    r.mtuAt = at
  }

  #hasMetrics(): boolean {
    const r = this.#r
    return (r.rttUs | r.rttvarUs | r.ssthreshBytes | r.cwndBytes) !== 0
  }

  /** Moves the cursor to a record and forgets what is too old of it. Whether nothing is left. */
  #isOver(record: Address): boolean {
    const { now } = this.#context.cpu
    const r = this.#r
    r.at = record
    if (this.#hasMetrics() && now - r.metricsAt > HostCacheLimits.metricsUs) {
      r.rttUs = 0
      r.rttvarUs = 0
      r.ssthreshBytes = 0
      r.cwndBytes = 0
    }
    if (r.mtu !== 0 && now - r.mtuAt > HostCacheLimits.mtuUs) r.mtu = 0
    return !this.#hasMetrics() && r.mtu === 0
  }

  /** Removes a record whose time is over, unless its message is still somewhere. */
  #expire(record: Address): void {
    this.#r.at = record
    if ((this.#r.flags & Flag.UNDER_WAY) !== 0) return
    this.#remove(record)
    this.#count[C.expired]!++
  }

  /** The record of a destination, an empty one if there was none; 0 when it cannot be had, which is counted. */
  #obtain(family: Family, address: Address): Address {
    const hash = this.#hash(family, address)
    return this.#find(family, address, hash) || this.#insert(family, address, hash)
  }

  #find(family: Family, address: Address, hash: number): Address {
    const { u8: memory } = this.#context
    const r = this.#r
    let record = this.#first(hash)
    while (record !== 0) {
      r.at = record
      this.#count[C.probes]!++
      if (r.hash === hash && r.family === family && equalAddress(memory, record + ADDRESS, address, family)) break
      record = r.next
    }
    return record
  }

  #insert(family: Family, address: Address, hash: number): Address {
    const { cpu, u8: memory } = this.#context
    if (this.#size >= HostCacheLimits.entries && !this.#evict()) {
      this.#count[C.refused]!++
      return 0
    }
    const record = cpu.slab.tryAllocate(RECORD_BYTES)
    if (record === 0) {
      this.#count[C.noMemory]!++
      return 0
    }
    memory.fill(0, record, record + RECORD_BYTES)
    memory.copyWithin(record + ADDRESS, address, address + addressBytes(family))
    const r = this.#r
    r.at = record
    r.family = family
    r.hash = hash
    r.flags = this.#homeOf(family, address) === cpu.index ? Flag.HOME : 0
    r.sentAt = Number.NEGATIVE_INFINITY
    r.next = this.#first(hash)
    this.#setFirst(hash, record)
    memory[record + MESSAGE + HostMessage.offset.family] = family
    this.#link(record)
    this.#size++
    this.#count[C.inserted]!++
    return record
  }

  /** Makes room by the least recently used that can go. */
  #evict(): boolean {
    const r = this.#r
    let record = this.#oldest
    for (let looks = HostCacheLimits.evictionLooks; looks > 0 && record !== 0; looks--) {
      r.at = record
      if ((r.flags & Flag.UNDER_WAY) === 0) {
        this.#remove(record)
        this.#count[C.evicted]!++
        return true
      }
      record = r.newer
    }
    return false
  }

  #remove(record: Address): void {
    const { cpu } = this.#context
    const r = this.#r
    cpu.timers.cancel(record + TIMER)
    this.#unlink(record)
    r.at = record
    const { hash, next } = r
    if (this.#first(hash) === record) this.#setFirst(hash, next)
    else {
      r.at = this.#first(hash)
      while (r.next !== record) r.at = r.next
      r.next = next
    }
    this.#size--
    cpu.slab.free(record)
  }

  /** A record becomes the most recently used. */
  #use(record: Address): void {
    if (this.#newest === record) return
    this.#unlink(record)
    this.#link(record)
  }

  #link(record: Address): void {
    const r = this.#r
    r.at = record
    r.newer = 0
    r.older = this.#newest
    if (this.#newest === 0) this.#oldest = record
    else {
      r.at = this.#newest
      r.newer = record
    }
    this.#newest = record
    r.at = record
  }

  #unlink(record: Address): void {
    const r = this.#r
    r.at = record
    const { newer, older } = r
    if (newer === 0) this.#newest = older
    else {
      r.at = newer
      r.older = older
    }
    if (older === 0) this.#oldest = newer
    else {
      r.at = older
      r.newer = newer
    }
  }

  /**
   * Where an address is found: the sum of its 16-bit words, each times a key (multilinear hashing, Carter and Wegman). For
   * whoever does not know the keys, two addresses meet in a bucket as rarely as by chance; the flow hash would not do, for
   * anybody can make IPv6 addresses that have the same.
   */
  #hash(family: Family, address: Address): number {
    const { u8: memory } = this.#context
    let hash = this.#keys[8]!
    for (let i = addressBytes(family) / 2 - 1; i >= 0; i--) {
      const word = (memory[address + 2 * i]! << 8) | memory[address + 2 * i + 1]!
      hash = (hash + Math.imul(this.#keys[i]!, word)) | 0
    }
    return hash
  }

  #first(hash: number): Address {
    return this.#context.memory.u32[((this.#room + FIRST_BUCKET) >> 2) + (hash >>> BUCKET_SHIFT)]!
  }

  #setFirst(hash: number, record: Address): void {
    this.#context.memory.u32[((this.#room + FIRST_BUCKET) >> 2) + (hash >>> BUCKET_SHIFT)] = record
  }

  /** The CPU that has the last word about a destination: the same for all. */
  #homeOf(family: Family, address: Address): number {
    const { u8: memory } = this.#context
    return this.#context.owner(addressHash(memory, family, address, this.#room + ZEROS))
  }

  /** The port of another CPU, or 0 where it is not. */
  #portOf(cpu: number): PortId {
    this.#ports[cpu] ||= this.#context.cpu.ports.find(this.#context.portName('hostcache', cpu)) ?? 0
    return this.#ports[cpu]
  }

  /** The machine stops. Whoever still has a message of ours may finish with it: the slab touches only what is before it. */
  #end(): void {
    const { cpu } = this.#context
    while (this.#newest !== 0) this.#remove(this.#newest)
    cpu.slab.free(this.#room)
  }
}

/** A value and another, made one; 0 is none (tcp_hostcache of FreeBSD does it so: half of it is the latest). */
export function smooth(value: number, latest: number): number {
  if (value === 0) return latest
  if (latest === 0) return value
  return Math.floor((value + latest) / 2)
}

/** As it is kept: 32 bits. */
export function whole(value: number): number {
  assert(value >= 0, 'what a connection has found out is not negative')
  return Math.min(Math.floor(value), 0xffffffff)
}

const ALL = Symbol('hostcache')
const ANNOUNCE = define('hostcache.announce', (cpu, host, timer) => {
  cpu.slot(ALL, () => [] as HostCache[])[host]?.announce(timer)
})
