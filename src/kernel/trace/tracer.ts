// Provenance: who sent this? Read chain.ts for what comes out, record.ts for how it is kept. One for each CPU.
//
// `current` is the record of what the code that runs now was caused by: the message whose handler it is in, the timer that
// fired, what its thread was last given. What it sends is recorded with that as its parent, and travels with its own number.
// So the chain from any message back to its origin is in memory, and costs nothing to carry.
//
//   off      nothing is recorded; the cost is one look at a small number wherever something is sent or taken (Marks)
//   1/N      of N things that begin without a cause, one is recorded with all that follows from it, up to DEPTH_MAX hops; `on` says
//            while that is so, and the rest costs as good as nothing
//   all      everything; as with 1/N stacks that are known without looking are taken as known (site.ts)
//   exact    everything, each with a look at its stack
//
// A call on the sender's own CPU needs no stack of its own, for it is on the sender's: one is taken only if the message is kept.
import type { Random } from '../../base/random.ts'
import type { Address } from '../../base/struct.ts'
import { counterSet } from '../counters.ts'
import type { Cpu } from '../cpu.ts'
import { type FunctionId, functionName } from '../function.ts'
import { MessageFlag, MessageHeader, messageTypeName, STORES_IN_ORDER } from '../message.ts'
import { type CallSite, callSites, framesOf, hasProgram, sitesHash, sitesText } from './callsite.ts'
import { type Chain, chainText, HOP_KINDS, type Hop, type HopKind } from './chain.ts'
import type { TraceContext } from './context.ts'
import { EXACT, modeWord, portEvery, portsWord } from './mode.ts'
import { ChainReader } from './reader.ts'
import { RemoteRecord, type Taken, type TraceId, TraceRecord, TraceRings, UNTRACED } from './record.ts'
import { INFERRED, SiteMemory } from './site.ts'
import type { HopTasks } from './task.ts'
import { type TextId, TextTable } from './text.ts'

/** Number of each kind of hop. */
export const HOP = Object.fromEntries(HOP_KINDS.map((kind, i) => [kind, i])) as { [K in HopKind]: number }

export const TraceCounters = counterSet('trace', [
  'recorded',
  /** Records that were written over before anybody took them back; what refers to one says that it is no longer kept. */
  'evicted',
  'stacks',
  'stacksNew',
  /** Times that the table of texts was full and began anew. */
  'textsEvicted',
  'timersEvicted',
] as const)
const C = TraceCounters.index

/** Frames that are taken of a stack; and where none of these is a program's, as below Node's streams. */
const FRAMES = 6
const FRAMES_DEEP = 20
/** Which of a CPU's streams of chance is the tracer's. */
const RANDOM = 0x7ace
/** With 1/N a chain that goes on for ever, as a thread that asks again and again, ends here. */
const DEPTH_MAX = 16
/** Places for timers whose cause is kept: a power of two. */
const TIMERS = 8192
/** Of a hash of sites: more of them have to be taken to tell who it was. */
const DEEPER = -1
/** Stacks that are known without looking at their text. */
const KNOWN_MAX = 4096

const { TRACED, LEFT_OUT } = MessageFlag
const M = MessageHeader.offset
const TRACE = M.trace >> 2
const TYPE = M.type >> 2
const AT = TraceRecord.offset
const PARENT = AT.parent >> 2
const STACK = AT.stack >> 2
const TARGET = AT.target >> 2
const KIND_AND_DEPTH = AT.kind >> 2
const SUBJECT = AT.subject >> 2
const TIME = AT.time >> 3
const EXTRA = AT.extra >> 2
const TAKEN = AT.taken >> 2

/** A function that senders call: what is above it on the stack is theirs. */
export type Entry = (...parameters: never[]) => unknown

/** As an entry: the sender is the kernel or the stack itself, of which no call sites are taken. */
export const nobody: Entry = () => {}

/**
 * What the state of a message says first that is sent now: 0 in mode off, LEFT_OUT of what is left out with 1/N; TRACED while `on`, for `sent` says
 * then what it is.
 */
export type Marks = number

export class Tracer {
  /** Whether the mode is another than off. Changed between turns only. */
  isSet = false
  /**
   * Whether what runs now is to tell what it sends. While `isSet` it always is, but with 1/N: then only in chains that are taken, and in
   * an origin whose turn it is.
   */
  on = false
  /** Told whenever `isSet` changes. For the host: what its thread shows of traces depends on it (machine/tracing.ts). */
  onSwitch: (isSet: boolean) => void = () => {}
  #marks: Marks = 0
  readonly #watchers: ((marks: Marks) => void)[] = []
  /** What shows hops to a debugger, where there is one. The host's, and looked at only while `on`. */
  tasks: HopTasks | undefined = undefined
  #outside: (() => TraceContext | undefined) | undefined = undefined
  #current: TraceId = 0
  /** What was last recorded of it. */
  #remote: { readonly context: TraceContext; readonly parent: TraceId; readonly id: TraceId } | undefined = undefined
  readonly #cpu: Cpu
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #rings: TraceRings
  readonly #texts: TextTable
  readonly #count: Float64Array
  readonly #known = new Map<number, TextId>()
  #knownGeneration = 0
  readonly #types = new Map<number, TextId>()
  #typesGeneration = 0
  readonly #modeWord: number
  readonly #portsWord: number
  /** The mode as the machine's memory has it, and one of how many is taken. */
  #word = 0
  #every = 0
  /** Stacks that are known without looking are not looked at. */
  #infers = false
  /** One of many is taken, on all ports: then what was left out is left out all the way. */
  #isSampled = false
  /** So it is, and nobody else has a say: then `on` goes with `current`. */
  #isFollowing = false
  #ports = 0
  /** Origins until one is taken, and how many there were of messages to ports that have an N of their own; 0: not decided yet. */
  #countdown = 1
  #portCountdown = 0
  /** What runs now is an origin whose turn it is: the first thing that it sends begins a chain. */
  #mayBegin = false
  /** The latest call whose number was kept, though not its message. */
  #kept: TraceId = 0
  #sequence = 0
  /** Timers whose cause is kept, each in the one place that its address has, and the records. No places until a mode is set: most machines never have one. */
  #timerAt = new Int32Array(0)
  #timerTrace = new Int32Array(0)
  #timersKept = 0
  readonly #sites: SiteMemory
  #sitesGeneration = 0
  readonly #entries = new Map<Entry, number>()
  /** Its own, so that what is traced changes nothing of a simulated run. */
  readonly #random: Random

  constructor(cpu: Cpu) {
    const { memory } = cpu
    this.#cpu = cpu
    this.#i32 = memory.i32
    this.#f64 = memory.f64
    this.#rings = new TraceRings(memory)
    this.#texts = new TextTable(memory, cpu.index)
    this.#count = cpu.counterPage.open(TraceCounters)
    this.#random = cpu.random.fork(RANDOM)
    this.#sites = new SiteMemory(this.#random)
    this.#modeWord = modeWord(memory)
    this.#portsWord = portsWord(memory)
    this.look()
  }

  /** Looks whether the mode has changed. Called at the beginning of each turn. */
  look(): void {
    // What a program began before this turn is over.
    if (this.#mayBegin) this.current = 0
    const word = this.#i32[this.#modeWord]!
    const ports = this.#i32[this.#portsWord]!
    if (word === this.#word && ports === this.#ports) return
    this.#word = word
    const every = word === EXACT ? 1 : word
    this.#every = every
    this.#infers = word !== EXACT && ports === 0
    this.#ports = ports
    this.#isSampled = every > 1 && ports === 0
    this.#countdown = this.#interval(every)
    this.#portCountdown = 0
    const wasSet = this.isSet
    this.isSet = every !== 0 || ports !== 0
    // What was noted of messages before says nothing of their next way.
    if (this.isSet && !wasSet) this.#forget()
    if (!this.isSet) this.#forgetTimers()
    this.#current = 0
    this.#mayBegin = false
    this.#follow()
    if (this.isSet !== wasSet) this.onSwitch(this.isSet)
  }

  /**
   * Tells `watcher` the marks: now, and whenever they change. So whoever looks at them for each packet has them in an object that it has at hand
   * anyway, and the look is one load and a test.
   */
  watch(watcher: (marks: Marks) => void): void {
    this.#watchers.push(watcher)
    watcher(this.#marks)
  }

  /** What the code that runs now was caused by; 0 where that is not known, UNTRACED where it is left out. */
  get current(): TraceId {
    return this.#current
  }

  set current(id: TraceId) {
    // What still carries a number of before the mode was off is no cause of anything.
    if (!this.isSet) return
    this.#current = id
    this.#mayBegin = false
    if (this.#isFollowing) this.#setOn(id > 0)
  }

  /** Whose trace of another kind is being worked on right now, where somebody knows (otel/span.ts). Looked at only while `on`, which it then always is. */
  get outside(): (() => TraceContext | undefined) | undefined {
    return this.#outside
  }

  set outside(outside: (() => TraceContext | undefined) | undefined) {
    this.#outside = outside
    this.#follow()
  }

  /**
   * What runs from here on nothing has caused that is known: with 1/N one of so many origins begins a chain. Where it sends nothing its turn is
   * over all the same, or those that do would be taken in the place of those that do not.
   */
  begin(): void {
    this.#current = 0
    this.#mayBegin = this.#every > 1 && --this.#countdown <= 0
    if (this.#mayBegin) this.#countdown = this.#interval(this.#every)
    if (this.#isFollowing) this.#setOn(this.#mayBegin)
  }

  // What the kernel tells of.

  /** A message is put at a port: its number is in it from here on. Without a stack as yet: see `stack`. */
  sent(kind: number, port: number, message: Address): void {
    const cause = this.#cause()
    this.#put(kind, port, message, cause, this.#wantsAt(port, cause))
  }

  /** As `sent`, of one that has come a part of its way already: forwarded, or answered. It begins no chain, but where all is traced. */
  passedOn(kind: number, port: number, message: Address): void {
    if (!this.isSet) return
    const parent = this.of(message) || this.current
    if (parent <= 0 && this.#isSampled) return
    this.#put(kind, port, message, parent, parent > 0 ? this.#wantsAt(port, parent) : this.#everyAt(port) === 1)
  }

  /**
   * Whether there may be anything to note of a message, for who passes it on or takes it: what runs now is recorded, or the message was. Of a message
   * that was when the mode is off by now it is said as well: then nothing comes of it.
   */
  concerns(message: Address): boolean {
    return ((this.#marks | this.#i32[message >> 2]!) & TRACED) !== 0
  }

  /**
   * A handler is called by an origin whose turn it was, which its message has used up: what the handler sends has no cause either, and would never
   * be taken. So it has the turn until `called`. Returns whether that is so.
   */
  calls(trace: TraceId): boolean {
    if (!this.#isFollowing || this.#current > 0 || trace <= 0) return false
    this.#mayBegin = true
    return true
  }

  /** The number of a message that a handler answers at once, but keeps as the cause of what it does later: whoever has called is worth a stack. */
  kept(message: Address): TraceId {
    this.#kept = this.of(message)
    return this.#kept
  }

  /** Whether that is so. */
  isKept(trace: TraceId): boolean {
    return trace === this.#kept
  }

  /** The handler has returned: see `calls`. */
  called(): void {
    this.#mayBegin = false
  }

  /** The call site from which a message was sent, where it has a record that has none yet. `below` is the kernel's entry. */
  stack(message: Address, below: Entry): void {
    this.stackOf(this.of(message), below)
  }

  /** As `stack`, of a record of this CPU. */
  stackOf(id: TraceId, below: Entry): void {
    // What was done meanwhile may have taken its place.
    if (below === nobody || !this.isSet || !this.#rings.isKept(id)) return
    const w = this.#rings.place(id) >> 2
    if (this.#i32[w + STACK] === 0) this.#i32[w + STACK] = this.#stackAt(w, below, false)
  }

  /** As `stackOf`, if a program is among the callers: else it is the stack's own way, which is always the same. */
  stackOfProgram(id: TraceId, below: Entry): void {
    if (!this.#rings.isKept(id)) return
    const w = this.#rings.place(id) >> 2
    this.#i32[w + STACK] = this.#stackAt(w, below, true)
  }

  /** A packet that nothing is noted of is held: what runs now is its cause, and not what will run when it goes on. */
  held(packet: Address): void {
    if (this.of(packet) === 0) this.#mark(packet, this.#current || this.#refusal)
  }

  /** The number that a message carries. */
  of(message: Address): TraceId {
    const w = message >> 2
    const state = this.#i32[w]!
    if ((state & TRACED) !== 0) return this.#i32[w + TRACE]!
    return (state & LEFT_OUT) === 0 ? 0 : UNTRACED
  }

  /** Whether a message has a record of how it came here. */
  isTraced(message: Address): boolean {
    return (this.#i32[message >> 2]! & TRACED) !== 0
  }

  /** From here on runs what a message has caused. */
  enter(message: Address): void {
    this.current = this.of(message)
  }

  /** An abort is asked for: as `note`, of the message. */
  aborted(kind: number, port: number, message: Address, below: Entry): TraceId {
    if (!this.isSet) return 0
    return this.note(kind, port, this.#typeLabel(this.#i32[(message >> 2) + TYPE]!), below, this.of(message))
  }

  /** A function is sent to another CPU. */
  sentFunction(run: FunctionId, below: Entry): TraceId {
    return this.#noteFunction(HOP.ipi, run, below)
  }

  /**
   * A trace of another process, or of another tool, goes on here: what the result is the cause of belongs to it. 0 where it is not recorded.
   * One that its own side has sampled is, whatever chance says here.
   */
  remote(context: TraceContext, parent: TraceId = this.current): TraceId {
    if (this.#every === 0 || (this.#every > 1 && !context.isSampled)) return 0
    const id = this.#record(HOP.remote, 0, 0, parent)
    const { offset } = RemoteRecord
    const words = this.#i32
    const w = this.#rings.place(id) >> 2
    const { traceId, spanId } = context
    const fields = ['trace0', 'trace1', 'trace2', 'trace3', 'span0', 'span1'] as const
    const digits = traceId + spanId
    for (const [i, field] of fields.entries()) {
      words[w + (offset[field] >> 2)] = Number.parseInt(digits.slice(8 * i, 8 * i + 8), 16)
    }
    words[w + (offset.isSampled >> 2)] = context.isSampled ? 1 : 0
    return id
  }

  /** Runs what `id` has led to, in sight of a debugger. */
  run<T>(id: TraceId, call: () => T): T {
    return this.tasks === undefined ? call() : this.tasks.run(id, call)
  }

  /** A message is taken out of its queue: from here on runs what it has caused, and it is noted how long it had waited. */
  taken(message: Address): void {
    this.enter(message)
    this.took(this.current)
  }

  /** What hop `id` sent is taken now, after as long as it is ago; or by a call. The record may be another CPU's. */
  took(id: TraceId, how?: Taken): void {
    if (!this.isSet || !this.#rings.isKept(id)) return
    const place = this.#rings.place(id)
    const taken = how ?? this.#cpu.clock.now() - this.#f64[(place >> 3) + TIME]!
    this.#i32[(place >> 2) + TAKEN] = this.#rings.takenWord(id, taken)
  }

  /** A hop that is no message: `target` and `subject` as the kind has it. 0 where it is not recorded. */
  note(
    kind: number,
    target: number,
    subject: number,
    below: Entry | undefined,
    parent: TraceId = this.#cause(),
  ): TraceId {
    if (!this.#wants(parent)) return this.#refusal
    const id = this.#record(kind, target, subject, parent)
    if (below !== undefined) this.stackOf(id, below)
    return id
  }

  /**
   * A packet came from a device, or was made: its mbuf carries the number, which is the parent of all that it leads to. `ports` are
   * a segment's own one, in the upper half, and the peer's.
   */
  packet(kind: number, label: string, packet: Address, bytes: number, parent: TraceId, ports = 0): TraceId {
    if (!this.#wants(parent)) {
      this.#mark(packet, this.#refusal)
      return this.#refusal
    }
    const id = this.#record(kind, this.#texts.intern(label), ports, parent)
    this.#i32[(this.#rings.place(id) >> 2) + EXTRA] = bytes
    this.#mark(packet, id)
    return id
  }

  /**
   * With 1/N: whether a packet that comes from a device is left out, as nearly all are; then nothing has caused what runs from here on. Of one that
   * has a mark that was decided before.
   */
  skips(packet: Address): boolean {
    const state = this.#i32[packet >> 2]!
    if (!this.#isFollowing || (state & (TRACED | LEFT_OUT)) !== 0 || --this.#countdown <= 0) return false
    this.#i32[packet >> 2] = state | LEFT_OUT
    if (this.on) this.current = 0
    return true
  }

  /** A packet comes from a device: what was decided of whoever has sent it, on a wire of this machine, does not hold for us. */
  arrived(label: string, packet: Address, bytes: number): void {
    const cause = this.of(packet)
    if (cause <= 0) {
      this.begin()
      if (!this.on) return
    } else this.took(cause)
    this.current = this.packet(HOP.packet, label, packet, bytes, cause <= 0 ? 0 : cause)
  }

  /** What a thread goes on with, which was caused by `trace`: where that was not taken, what it does next may be. */
  resume(trace: TraceId): void {
    if (trace > 0) this.current = trace
    else this.begin()
  }

  /** What a thread that is woken now will go on with, and `before` what it would have. */
  wokenBy(before: TraceId): TraceId {
    return this.#current !== 0 || this.#isSampled ? this.#current : before
  }

  /**
   * What a thread goes on with whose timer fires now: what it had. With 1/N it is the timer, so that a thread which lives by delays does
   * not stay in a chain for ever (DEPTH_MAX).
   */
  sleptSince(before: TraceId): TraceId {
    return this.#isSampled ? this.#current : before
  }

  /** As `packet`, of one that goes on: what is not traced until here begins no chain, but where all is traced. 0: nothing has changed. */
  packetOn(kind: number, label: string, packet: Address, bytes: number, parent: TraceId, ports = 0): TraceId {
    const id = this.noteOn(kind, label, bytes, parent, ports)
    if (id !== 0) this.#mark(packet, id)
    return id
  }

  /** As `packetOn`, where there is no packet any more but what it was of. */
  noteOn(kind: number, label: string, bytes: number, parent: TraceId, ports: number): TraceId {
    if (parent <= 0 ? this.#every !== 1 : !this.#wants(parent)) return 0
    const id = this.#record(kind, this.#texts.intern(label), ports, parent)
    this.#i32[(this.#rings.place(id) >> 2) + EXTRA] = bytes
    return id
  }

  /** The number of a text that records name as their target. */
  label(text: string): TextId {
    return this.#texts.intern(text)
  }

  /** A timer was armed here, by whatever runs now. */
  armed(timer: Address, run: FunctionId, below: Entry): void {
    const id = this.on ? this.#noteFunction(HOP.timer, run, below) : UNTRACED
    if (id <= 0) {
      this.disarmed(timer)
      return
    }
    const slot = slotOf(timer)
    const other = this.#timerAt[slot]!
    if (other === 0) this.#timersKept++
    else if (other !== timer) this.#count[C.timersEvicted]!++
    this.#timerAt[slot] = timer
    this.#timerTrace[slot] = id
  }

  /** It fires: what runs now was caused by its arming. */
  fired(timer: Address): void {
    const slot = slotOf(timer)
    if (this.#timerAt[slot] === timer) this.current = this.#timerTrace[slot]!
    else this.begin()
    this.disarmed(timer)
  }

  disarmed(timer: Address): void {
    if (this.#timersKept === 0) return
    const slot = slotOf(timer)
    if (this.#timerAt[slot] !== timer) return
    this.#timerAt[slot] = 0
    this.#timersKept--
  }

  // For whoever asks.

  /**
   * How what runs now came about, from the latest hop back to the origin: across queues, CPUs and threads. Empty where nothing is traced.
   * The caller's own stack is not in it.
   */
  where(): Chain {
    return this.chainOf(this.current)
  }

  /**
   * As `where`, behind a hop that is the stack of whoever has called `below`: what another process is told of what this one sends it.
   * `process` names this one, where it is another than the reader's.
   */
  here(below: Entry, process?: Hop['process']): Chain {
    const reader = new ChainReader(this.#cpu.memory)
    const frames = reader.program(framesOf(sitesText(callSites(FRAMES_DEEP, below))))
    const { hops, end } = reader.chain(this.current)
    const own = { kind: 'process', cpu: this.#cpu.index, to: '', atUs: this.#cpu.clock.now(), id: 0, frames } as const
    const all = [own, ...hops]
    return { hops: process === undefined ? all : all.map((hop) => ({ ...hop, process })), end }
  }

  /** The chain of a message that its owner asks about. */
  whence(message: Address): Chain {
    return this.chainOf(this.of(message))
  }

  chainOf(id: TraceId): Chain {
    return new ChainReader(this.#cpu.memory).chain(id)
  }

  /** An error that was thrown by what runs now: its stack goes on through the queues. Once for each error. Never throws. */
  explain(error: unknown): void {
    if (!this.isKnown || !(error instanceof Error) || explained.has(error)) return
    try {
      // Read for the first time it may go on by itself: machine/stackhook.ts.
      const stack = error.stack ?? `${error.name}: ${error.message}`
      const rest = this.continuation(error)
      if (rest !== '') Reflect.set(error, 'stack', `${stack}\n${rest}`)
    } catch {
      // An error that cannot be read, or not be written to, stays as it is: it is the one that is told.
    }
  }

  /** What the stack of `error` goes on with, which is told once: empty from then on, and where nothing is known. */
  continuation(error: object): string {
    if (!this.isKnown || explained.has(error)) return ''
    explained.add(error)
    return this.text()
  }

  /** The lines that a stack goes on with; empty where nothing is known. */
  text(): string {
    return this.isKnown ? chainText(this.where(), this.#cpu.clock.now()) : ''
  }

  /** Whether there is anything to tell of what runs now. */
  get isKnown(): boolean {
    return this.#current > 0
  }

  /** What is done now is caused by what runs; and, in it, by what `outside` knows of. */
  #cause(): TraceId {
    const context = this.#outside?.()
    if (context === undefined) return this.current
    const last = this.#remote
    const isSame =
      last?.parent === this.current &&
      last.context.spanId === context.spanId &&
      last.context.traceId === context.traceId &&
      this.#rings.isKept(last.id)
    if (isSame) return last.id
    const id = this.remote(context)
    if (id === 0) return this.current
    this.#remote = { context, parent: this.current, id }
    return id
  }

  #put(kind: number, port: number, message: Address, parent: TraceId, isWanted: boolean): void {
    const type = this.#i32[(message >> 2) + TYPE]!
    this.#mark(message, isWanted ? this.#record(kind, port, this.#typeLabel(type), parent) : this.#refusal)
  }

  /** Of a chain that is not taken nothing is; but where only single ports are traced, nobody was asked. */
  get #refusal(): TraceId {
    return this.#every > 1 ? UNTRACED : 0
  }

  #mark(message: Address, id: TraceId): void {
    const w = message >> 2
    const state = this.#i32[w]! & ~(TRACED | LEFT_OUT)
    if (id <= 0) this.#i32[w] = id === 0 ? state : state | LEFT_OUT
    else {
      // In this order, for whoever reads it from outside.
      this.#i32[w + TRACE] = id
      this.#i32[w] = state | TRACED
    }
  }

  #noteFunction(kind: number, run: FunctionId, below: Entry): TraceId {
    const cause = this.#cause()
    if (!this.#wants(cause)) return this.#refusal
    const id = this.#record(kind, this.#texts.intern(functionName(run)), 0, cause)
    this.stackOf(id, below)
    return id
  }

  /** As a text, because whoever reads it may not have loaded what declares the type. */
  #typeLabel(type: number): TextId {
    const { generation } = this.#texts
    if (generation !== this.#typesGeneration) this.#types.clear()
    this.#typesGeneration = generation
    const known = this.#types.get(type)
    if (known !== undefined) return known
    const label = this.#texts.intern(messageTypeName(type))
    // Interning may have begun the table anew.
    if (this.#texts.generation === generation) this.#types.set(type, label)
    return label
  }

  /** Whether what `parent` leads to is recorded. */
  #wants(parent: TraceId): boolean {
    const every = this.#every
    if (every <= 1) return every === 1
    // Of one that is no longer kept nobody knows how deep it was.
    if (parent > 0) return this.#rings.isKept(parent) && this.#depth(parent) < DEPTH_MAX
    if (!this.#mayBegin) return false
    this.#mayBegin = false
    return true
  }

  /** One of how many is taken of what is put at a port. */
  #everyAt(port: number): number {
    const own = this.#ports === 0 ? 0 : portEvery(this.#cpu.memory, port)
    if (own === 0) return this.#every
    return own === 1 + EXACT ? 1 : own - 1
  }

  /** As `wants`, of what is sent to a port, which may have a mode of its own: then each message to it may begin a chain, wherever it comes from. */
  #wantsAt(port: number, parent: TraceId): boolean {
    if (this.#ports === 0 || portEvery(this.#cpu.memory, port) === 0) return this.#wants(parent)
    const every = this.#everyAt(port)
    if (every <= 1) return every === 1
    if (parent > 0 && this.#depth(parent) < DEPTH_MAX) return true
    if (this.#portCountdown === 0) this.#portCountdown = this.#interval(every)
    return --this.#portCountdown === 0
  }

  /** With 1/N `on` is only while a chain is that was taken; but where somebody else has a say in what is, he is asked each time. */
  #follow(): void {
    this.#isFollowing = this.#isSampled && this.#outside === undefined
    this.on = this.#isFollowing ? this.#current > 0 || this.#mayBegin : this.isSet
    this.#tell()
  }

  #setOn(on: boolean): void {
    if (on === this.on) return
    this.on = on
    this.#tell()
  }

  #tell(): void {
    const marks = this.on ? TRACED : this.isSet ? LEFT_OUT : 0
    if (marks === this.#marks) return
    this.#marks = marks
    for (let i = 0; i < this.#watchers.length; i++) this.#watchers[i]!(marks)
  }

  /** `every` on average, and by chance: what comes in a regular pattern is then taken alike. */
  #interval(every: number): number {
    return every <= 1 ? 1 : 1 + this.#random.below(2 * every - 1)
  }

  #record(kind: number, target: number, subject: number, parent: TraceId): TraceId {
    const words = this.#i32
    this.#sequence = this.#sequence === this.#rings.sequenceMask ? 1 : this.#sequence + 1
    const id = this.#rings.id(this.#cpu.index, this.#sequence)
    const place = this.#rings.place(id)
    const w = place >> 2
    this.#count[C.recorded]!++
    if (words[w] !== 0) this.#count[C.evicted]!++
    words[w] = 0
    words[w + PARENT] = parent < 0 ? 0 : parent
    words[w + STACK] = 0
    words[w + TARGET] = target
    words[w + KIND_AND_DEPTH] = kind | ((this.#depth(parent) + 1) << 16)
    words[w + SUBJECT] = subject
    this.#f64[(place >> 3) + TIME] = this.#cpu.clock.now()
    words[w + EXTRA] = 0
    words[w + TAKEN] = 0
    // Last: whoever reads it from another thread looks at this first and again at the end.
    if (STORES_IN_ORDER) words[w] = this.#sequence
    else Atomics.store(words, w, this.#sequence)
    if (this.tasks !== undefined) this.tasks.made(id)
    return id
  }

  /** Hops before what follows from `parent`; 0 where that is no longer kept. */
  #depth(parent: TraceId): number {
    if (!this.#rings.isKept(parent)) return 0
    const depth = this.#i32[(this.#rings.place(parent) >> 2) + KIND_AND_DEPTH]! >>> 16
    return depth === 0xffff ? depth - 1 : depth
  }

  /** The stack of a record of this CPU: as it is known to be, or as it is. */
  #stackAt(w: number, below: Entry, isProgramOnly: boolean): TextId {
    if (!this.#infers) return this.#capture(below, isProgramOnly)
    if (this.#sitesGeneration !== this.#texts.generation) this.#sites.clear()
    this.#sitesGeneration = this.#texts.generation
    const key = this.#siteKey(w, below)
    const known = this.#sites.guess(key)
    if (known !== undefined) return known
    const stack = this.#capture(below, isProgramOnly)
    this.#sites.saw(key, stack)
    return stack
  }

  /** What surrounds the call: what is sent where, by which function, because of what. 53 bits of it. */
  #siteKey(w: number, below: Entry): number {
    const words = this.#i32
    const kind = words[w + KIND_AND_DEPTH]! & 0xffff
    let entry = this.#entries.get(below)
    if (entry === undefined) {
      entry = this.#entries.size
      this.#entries.set(below, entry)
    }
    let here = mixed(mixed(kind, words[w + TARGET]!), entry)
    // Of packets it is their ports.
    if (kind <= HOP.abort) here = mixed(here, words[w + SUBJECT]!)
    const parent = words[w + PARENT]!
    if (parent === 0 || !this.#rings.isKept(parent)) return here >>> 0
    const p = this.#rings.place(parent) >> 2
    const before = mixed(mixed(words[p + KIND_AND_DEPTH]! & 0xffff, words[p + TARGET]!), words[p + STACK]! & ~INFERRED)
    return (here >>> 0) * 0x200000 + (before >>> 11)
  }

  #capture(below: Entry, isProgramOnly: boolean): TextId {
    this.#count[C.stacks]!++
    const sites = callSites(FRAMES, below)
    const hash = sitesHash(sites)
    const known = this.#knownText(hash)
    if (known > 0) return known
    if (isProgramOnly && !hasProgram(sites)) return 0
    if (known !== DEEPER && (sites.length < FRAMES || hasProgram(sites))) return this.#intern(hash, sites)
    this.#known.set(hash, DEEPER)
    const all = callSites(FRAMES_DEEP, below)
    const deepHash = sitesHash(all)
    return this.#knownText(deepHash) || this.#intern(deepHash, all)
  }

  /** Of sites that were seen before; 0: none, or they are no longer kept. */
  #knownText(hash: number): TextId {
    return this.#knownGeneration === this.#texts.generation ? (this.#known.get(hash) ?? 0) : 0
  }

  #intern(hash: number, sites: readonly CallSite[]): TextId {
    if (sites.length === 0) return 0
    this.#count[C.stacksNew]!++
    const { generation } = this.#texts
    const id = this.#texts.intern(sitesText(sites))
    if (this.#texts.generation !== generation) this.#count[C.textsEvicted]!++
    if (this.#texts.generation !== this.#knownGeneration || this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#knownGeneration = this.#texts.generation
    this.#known.set(hash, id)
    return id
  }

  #forget(): void {
    const { layout } = this.#cpu.memory
    const first = this.#rings.place(this.#rings.id(this.#cpu.index, 0)) >> 2
    this.#i32.fill(0, first, first + (layout.traceRecords * TraceRecord.size) / 4)
    if (this.#timerAt.length === 0) {
      this.#timerAt = new Int32Array(TIMERS)
      this.#timerTrace = new Int32Array(TIMERS)
    }
    this.#forgetTimers()
  }

  #forgetTimers(): void {
    this.#timerAt.fill(0)
    this.#timersKept = 0
  }
}

/** Errors whose stack goes on already. */
const explained = new WeakSet<object>()

function mixed(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x9e3779b1) ^ (hash >>> 15)
}

/** Where a timer's cause is kept. Timers lie at multiples of 8. */
function slotOf(timer: Address): number {
  return (Math.imul(timer >>> 3, 0x9e3779b1) >>> 16) & (TIMERS - 1)
}
