// IPIs: what one CPU asks another to do, by a ring for each ordered pair of CPUs (see reference: DragonFly's lwkt_ipiq.c).
//
// The source writes entries and stages them; a publish makes them visible, once for 16 or at the end of the turn.
// The target reads the published index once and runs the functions up to it. The doorbell is rung only for a
// CPU that has announced its sleep.
//
//        rindex        xindex = rindex outside a drain      published          staged
//          |                                                    |                 |
//   ───────┴──── entries the target has not read ───────────────┴── not visible ──┴──────
//
// A ring that is half full is waited for until it is a quarter full, while this CPU goes on serving its own rings, so
// that two full rings which face each other cannot deadlock. An IPI function that sends does not wait (it would have to
// drain within a drain, as deep as the rings are long): it has the other half of the ring, and behind it a private queue.
import { assert } from '../base/assert.ts'
import { Limits } from '../base/limits.ts'
import type { Address } from '../base/struct.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { CpuState } from './cpustate.ts'
import { type FunctionId, functionOf } from './function.ts'
import { POINT } from './handoff.ts'
import { CpuBlock, RING_ENTRY_BYTES, RingHeader } from './layout.ts'
import type { Tracer } from './trace/tracer.ts'

// Constants of this module, because the compiler folds those (see port.ts).
const BATCH = Limits.ipiBatch
const ENTRY_BYTES = RING_ENTRY_BYTES
const SLEEPING = CpuState.sleeping
const RUNNING = CpuState.running
const AVOIDED = K.doorbellsAvoided
const RECEIVED = K.ipisReceived
const PUBLISHES = K.ipiPublishes
const SENT = K.ipisSent
/**
 * An entry, in words: {function, a, b, c, time (a double), trace, 0}. A put of messages is function 0, and
 * carries up to four of one port: {0, first, second, third, time, port, fourth}, 0 where there is none.
 */
const TIME = 4 >> 1
const PORT = 6
const FOURTH = 7
/** Of a function: the TraceId of its sending. */
const TRACE = PORT
/** The number of the one function that is called without the table: messages arrive. No defined function has it. */
const PUT: FunctionId = 0
const OVERFLOW_NUMBERS = 6

/** The sending side of a ring. */
interface Out {
  readonly target: number
  readonly windex: number
  readonly rindex: number
  readonly xindex: number
  readonly entries: number
  readonly state: number
  readonly record: number
  staged: number
  published: number
  /** rindex when it was last looked at. */
  consumed: number
  /** Something other than passive entries is staged or was published without a doorbell. */
  active: boolean
  onList: boolean
  /** The last entry is not published, and puts messages at this port; 0 when it is full or something else. */
  openPort: number
  /** The word of that entry where the next message goes. */
  openWord: number
  /** What IPI functions sent while the ring was full, six numbers each {id, a, b, c, active, port or trace}, from `overflowRead` on. */
  readonly overflow: number[]
  overflowRead: number
}

/** The receiving side of a ring. */
interface In {
  readonly source: number
  readonly windex: number
  readonly rindex: number
  readonly xindex: number
  readonly entries: number
  readonly record: number
  read: number
  /** What `xindex` says. */
  executed: number
}

export class Ipi {
  readonly #cpu: Cpu
  readonly #tracer: Tracer
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #mask: number
  readonly #size: number
  readonly #high: number
  /** Staged entries are published when there are so many. */
  readonly #batch: number
  readonly #low: number
  readonly #out: Out[] = []
  readonly #in: In[] = []
  /** Rings with staged entries. */
  readonly #staged: (Out | undefined)[]
  #stagedCount = 0
  /** How many drains are on the stack. */
  #draining = 0
  #closed = false

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#tracer = cpu.tracer
    const { layout, i32, f64 } = cpu.memory
    this.#i32 = i32
    this.#f64 = f64
    this.#size = layout.ringEntries
    this.#mask = layout.ringEntries - 1
    this.#high = layout.ringEntries >> 1
    this.#batch = cpu.batches.ipi
    this.#low = layout.ringEntries >> 2
    this.#staged = new Array(layout.cpus).fill(undefined)
    for (let peer = 0; peer < layout.cpus; peer++) {
      const record = cpu.handoffs.record(POINT.ring, peer)
      const out = layout.ring(cpu.index, peer)
      this.#out.push({
        target: peer,
        windex: (out + RingHeader.offset.windex) >> 2,
        rindex: (out + RingHeader.offset.rindex) >> 2,
        xindex: (out + RingHeader.offset.xindex) >> 2,
        entries: out + RingHeader.size,
        state: (layout.cpuBlock(peer) + CpuBlock.offset.state) >> 2,
        record,
        staged: 0,
        published: 0,
        consumed: 0,
        active: false,
        onList: false,
        openPort: 0,
        openWord: 0,
        overflow: [],
        overflowRead: 0,
      })
      const inn = layout.ring(peer, cpu.index)
      this.#in.push({
        source: peer,
        windex: (inn + RingHeader.offset.windex) >> 2,
        rindex: (inn + RingHeader.offset.rindex) >> 2,
        xindex: (inn + RingHeader.offset.xindex) >> 2,
        entries: inn + RingHeader.size,
        record,
        read: 0,
        executed: 0,
      })
    }
  }

  /** How deep this CPU is in functions that IPIs asked for. */
  get draining(): number {
    return this.#draining
  }

  /** Asks `target` to run a function. On the CPU itself it runs at once. */
  send(target: number, id: FunctionId, a = 0, b = 0, c = 0): void {
    if (target === this.#cpu.index) functionOf(id)(this.#cpu, a, b, c, target)
    else {
      const trace = this.#tracer.on ? this.#tracer.sentFunction(id, this.send) : 0
      this.#push(this.#out[target]!, id, a, b, c, true, trace)
    }
  }

  /** As `send`, for the kernel's own functions that only carry on what a record says already: the answer of a call. */
  sendUntraced(target: number, id: FunctionId, a: number): void {
    this.#push(this.#out[target]!, id, a, 0, 0, true, 0)
  }

  /** As `send`, but does not wake the target, and leaves no trace: for housekeeping. A ring that is a quarter full becomes active all the same. */
  sendPassive(target: number, id: FunctionId, a = 0, b = 0, c = 0): void {
    if (target === this.#cpu.index) functionOf(id)(this.#cpu, a, b, c, target)
    else {
      this.#cpu.count[K.ipisPassive]!++
      this.#push(this.#out[target]!, id, a, b, c, false, 0)
    }
  }

  /** Puts a message at a port of `target`: in the last entry, where that has room for one more of the same port. */
  put(target: number, port: number, message: Address): void {
    const out = this.#out[target]!
    if (out.openPort === port) {
      const words = this.#i32
      const word = out.openWord
      words[word] = message
      // After the first, second and third comes the fourth, behind the time and the port.
      const place = word & 7
      if (place === 2) out.openWord = word + 1
      else if (place === 3) out.openWord = word + FOURTH - 3
      else out.openPort = 0
      return
    }
    this.#push(out, PUT, message, 0, 0, true, port)
  }

  /** Sends to each CPU for which `includes` says so, beginning at this one and going upward, so that no CPU is always first. */
  sendMask(includes: (cpu: number) => boolean, id: FunctionId, a = 0, b = 0, c = 0): void {
    const { index } = this.#cpu
    const cpus = this.#out.length
    for (let i = 1; i <= cpus; i++) {
      const target = (index + i) % cpus
      if (includes(target)) this.send(target, id, a, b, c)
    }
  }

  /** Entries sent to `target` so far: what `done` is asked about. */
  mark(target: number): number {
    const out = this.#out[target]!
    return (out.staged + (out.overflow.length - out.overflowRead) / OVERFLOW_NUMBERS) | 0
  }

  /** Whether the functions of all entries up to `mark` have returned on `target`. */
  done(target: number, mark: number): boolean {
    const out = this.#out[target]!
    return ((Atomics.load(this.#i32, out.xindex) - mark) | 0) >= 0
  }

  /** Publishes all that is staged. Called at the end of each turn, and before any wait. */
  flush(): void {
    const list = this.#staged
    let kept = 0
    for (let i = 0; i < this.#stagedCount; i++) {
      const out = list[i]!
      if (out.overflow.length > 0) this.#refill(out)
      if (out.staged !== out.published) this.#publish(out)
      if (out.overflow.length > 0) list[kept++] = out
      else out.onList = false
    }
    this.#stagedCount = kept
  }

  /** Whether something is left that `flush` could not publish, because a ring is full. */
  get backlogged(): boolean {
    return this.#stagedCount > 0
  }

  /** Publishes and makes sure that `target` is awake, also for passive entries. */
  flushTo(target: number): void {
    const out = this.#out[target]!
    out.active = true
    this.#publish(out)
  }

  /** Runs what the others sent. Returns how many entries. */
  drain(): number {
    const words = this.#i32
    let drained = 0
    this.#draining++
    for (let i = 0; i < this.#in.length; i++) {
      const ring = this.#in[i]!
      // Read once, before the entries: arguments read before the index were a bug that took a trillion instructions to find.
      const windex = Atomics.load(words, ring.windex)
      if (windex !== ring.read) drained += this.#drainRing(ring, windex)
    }
    if (this.#draining === 1) {
      // Only now have all functions returned: one that waited may have had other rings served within it.
      for (let i = 0; i < this.#in.length; i++) {
        const ring = this.#in[i]!
        if (ring.executed === ring.read) continue
        ring.executed = ring.read
        Atomics.store(words, ring.xindex, ring.read)
      }
    }
    this.#draining--
    return drained
  }

  /** One turn of a busy wait: runs what the others sent, and sends what that led to. Returns how many entries. */
  serve(): number {
    const drained = this.drain()
    if (drained > 0) this.flush()
    return drained
  }

  /** Whether any ring has entries that were published and not read. */
  pending(): boolean {
    for (let i = 0; i < this.#in.length; i++) {
      const ring = this.#in[i]!
      if (Atomics.load(this.#i32, ring.windex) !== ring.read) return true
    }
    return false
  }

  /** Entries sent to this CPU by `source` and not yet read. */
  depth(source: number): number {
    const ring = this.#in[source]!
    return (Atomics.load(this.#i32, ring.windex) - ring.read) | 0
  }

  #drainRing(ring: In, windex: number): number {
    const words = this.#i32
    const cpu = this.#cpu
    const count = (windex - ring.read) | 0
    const first = ring.entries + (ring.read & this.#mask) * ENTRY_BYTES
    cpu.handoffs.depth(ring.record, count)
    cpu.handoffs.waited(ring.record, cpu.now - this.#f64[(first >> 3) + TIME]!)
    this.#touch(ring, count)
    let run = 0
    let toPublish = 0
    // A function that waits for a full ring drains again, from where this loop is: hence the index is looked at anew.
    while (((windex - ring.read) | 0) > 0) {
      const entry = (ring.entries + (ring.read & this.#mask) * ENTRY_BYTES) >> 2
      const id = words[entry]!
      const a = words[entry + 1]!
      const b = words[entry + 2]!
      const c = words[entry + 3]!
      ring.read = (ring.read + 1) | 0
      run++
      if (++toPublish === BATCH) {
        Atomics.store(words, ring.rindex, ring.read)
        toPublish = 0
      }
      if (id === 0) cpu.ports.arrived(words[entry + PORT]!, a, b, c, words[entry + FOURTH]!)
      else if (this.#tracer.on || words[entry + TRACE]! > 0) {
        this.#runTraced(id, a, b, c, ring.source, words[entry + TRACE]!)
      } else functionOf(id)(cpu, a, b, c, ring.source)
    }
    Atomics.store(words, ring.rindex, ring.read)
    cpu.handoffs.served(ring.record, run, false)
    cpu.count[RECEIVED]! += run
    return run
  }

  #runTraced(id: FunctionId, a: number, b: number, c: number, source: number, trace: number): void {
    const { current } = this.#tracer
    this.#tracer.current = trace
    this.#tracer.took(trace)
    if (this.#tracer.tasks === undefined) functionOf(id)(this.#cpu, a, b, c, source)
    else this.#tracer.run(trace, () => functionOf(id)(this.#cpu, a, b, c, source))
    this.#tracer.current = current
  }

  /**
   * Reads a word of each message that arrives. The lines lie in the sender's cache: asked for together they come
   * together; asked for one by one, each when it is handled, every message would wait for its own.
   */
  #touch(ring: In, count: number): number {
    const words = this.#i32
    let sum = 0
    for (let i = 0; i < count; i++) {
      const entry = (ring.entries + ((ring.read + i) & this.#mask) * ENTRY_BYTES) >> 2
      if (words[entry] !== 0) continue
      // A word that carries no message is 0, and reads the memory's first word.
      sum += words[words[entry + 1]! >> 2]! + words[words[entry + 2]! >> 2]!
      sum += words[words[entry + 3]! >> 2]! + words[words[entry + FOURTH]! >> 2]!
    }
    return sum
  }

  /** The CPU has left its run loop: what it still asks of others is not sent, for they are leaving too. */
  close(): void {
    this.#closed = true
  }

  /** `tag` is the port of a put, and the trace of a function. */
  #push(out: Out, id: FunctionId, a: number, b: number, c: number, active: boolean, tag: number): void {
    if (this.#closed) return
    if (this.#draining === 0) {
      if (((out.staged - out.consumed) | 0) >= this.#high || out.overflow.length > 0) this.#waitForRoom(out)
    } else if (!this.#hasRoom(out)) {
      assert(
        out.overflow.length < Limits.ipiOverflow * OVERFLOW_NUMBERS,
        'IPI functions send more IPIs than they are sent, without end',
      )
      // What is sent next must not slip in before it.
      out.openPort = 0
      out.overflow.push(id, a, b, c, active ? 1 : 0, tag)
      this.#list(out)
      return
    }
    this.#write(out, id, a, b, c, active, tag)
  }

  /** Whether an IPI function may write to the ring now. */
  #hasRoom(out: Out): boolean {
    if (out.overflow.length > 0) return false
    if (((out.staged - out.consumed) | 0) < this.#size) return true
    out.consumed = Atomics.load(this.#i32, out.rindex)
    if (((out.staged - out.consumed) | 0) < this.#size) return true
    this.#cpu.count[K.ipiNested]!++
    return false
  }

  /** Moves what IPI functions had to leave in the private queue to the ring, as far as there is room. */
  #refill(out: Out): void {
    const { overflow } = out
    out.consumed = Atomics.load(this.#i32, out.rindex)
    let at = out.overflowRead
    while (at < overflow.length && ((out.staged - out.consumed) | 0) < this.#size) {
      this.#write(
        out,
        overflow[at]!,
        overflow[at + 1]!,
        overflow[at + 2]!,
        overflow[at + 3]!,
        overflow[at + 4] === 1,
        overflow[at + 5]!,
      )
      at += OVERFLOW_NUMBERS
    }
    out.overflowRead = at
    if (at === overflow.length) {
      overflow.length = 0
      out.overflowRead = 0
    }
  }

  #list(out: Out): void {
    if (out.onList) return
    out.onList = true
    this.#staged[this.#stagedCount++] = out
  }

  #write(out: Out, id: FunctionId, a: number, b: number, c: number, active: boolean, tag: number): void {
    const words = this.#i32
    const entry = (out.entries + (out.staged & this.#mask) * ENTRY_BYTES) >> 2
    words[entry] = id
    words[entry + 1] = a
    words[entry + 2] = b
    words[entry + 3] = c
    this.#f64[(entry >> 1) + TIME] = this.#cpu.now
    words[entry + PORT] = tag
    words[entry + FOURTH] = 0
    out.openPort = id === PUT ? tag : 0
    out.openWord = entry + 2
    out.staged = (out.staged + 1) | 0
    if (active) out.active = true
    if (((out.staged - out.published) | 0) >= this.#batch) this.#publish(out)
    else this.#list(out)
  }

  #publish(out: Out): void {
    const words = this.#i32
    const cpu = this.#cpu
    const count = (out.staged - out.published) | 0
    if (count > 0) {
      out.published = out.staged
      out.openPort = 0
      // Also the fence between the entries and the look at the target's state below.
      Atomics.store(words, out.windex, out.staged)
      cpu.count[PUBLISHES]!++
      cpu.count[SENT]! += count
      cpu.handoffs.enqueued(out.record, count)
      if (!out.active) {
        out.consumed = Atomics.load(words, out.rindex)
        if (((out.staged - out.consumed) | 0) >= this.#low) out.active = true
      }
    }
    if (!out.active) return
    out.active = false
    const rung = ringDoorbell(cpu, out.target, out.state)
    cpu.handoffs.doorbell(out.record, rung)
  }

  /** The ring is over its half: waits until it is a quarter full, serving the own rings. */
  #waitForRoom(out: Out): void {
    const cpu = this.#cpu
    const words = this.#i32
    out.consumed = Atomics.load(words, out.rindex)
    if (((out.staged - out.consumed) | 0) < this.#high && out.overflow.length === 0) return
    cpu.count[K.ipiRingFull]!++
    out.active = true
    this.#publish(out)
    for (;;) {
      out.consumed = Atomics.load(words, out.rindex)
      if (((out.staged - out.consumed) | 0) <= this.#low && out.overflow.length === 0) return
      if (cpu.stopping()) throw new MachineStopping()
      if (this.serve() > 0) continue
      // The private queue moves to the ring as the target reads.
      this.flush()
      cpu.host.relax(cpu)
    }
  }
}

/** Wakes `target` if it has announced that it sleeps. Returns whether a doorbell was needed. */
export function ringDoorbell(cpu: Cpu, target: number, stateWord: number): boolean {
  const words = cpu.memory.i32
  // A plain look first: a busy CPU's word then stays shared in all caches.
  const sleeping =
    Atomics.load(words, stateWord) === SLEEPING &&
    Atomics.compareExchange(words, stateWord, SLEEPING, RUNNING) === SLEEPING
  if (sleeping) {
    cpu.count[K.doorbellsRung]!++
    cpu.host.ring(target)
  } else cpu.count[AVOIDED]!++
  return sleeping
}

/** Thrown out of a wait that cannot end because the machine stops. The run loop takes it as the end of the turn. */
export class MachineStopping extends Error {
  override readonly name = 'MachineStopping'
  constructor() {
    super('the machine is stopping')
  }
}
