// Runs a script: event by event, each at its time, on a host of its own (computer.ts). The script's time 0 is when the host is up.
import { type Actual, actualOf } from './actual.ts'
import { checkAssertions } from './assertion.ts'
import { Calls } from './calls.ts'
import { Computer, type Running, type SentFrame } from './computer.ts'
import { numberOf } from './constant.ts'
import { encode } from './encode.ts'
import { ScriptFailure, Unsupported } from './error.ts'
import type { Flow } from './flow.ts'
import { Flows } from './flows.ts'
import { infoOf } from './info.ts'
import { difference, discontinuity } from './match.ts'
import { formatPacket, formatTime } from './notation.ts'
import type { Outcome } from './outcome.ts'
import { optionBytes } from './parse-packet.ts'
import { parse } from './parser.ts'
import type { Call, Event, Packet, Script, TcpPacket, Time } from './script.ts'
import { applyCommand, applyOption, defaultSettings, type Settings } from './setting.ts'

export interface Result {
  readonly kind: 'pass' | 'fail' | 'skip'
  /** Where in the script; 0: nowhere. */
  readonly line: number
  /** Why it did not pass; of several lines where packets are compared. */
  readonly reason: string
  /** What has happened, a line each. */
  readonly log: readonly string[]
}

/** How much later than it is due an outbound packet is waited for, so that the report can say when it came. */
const LATE_US = 2e6
/** How long one that may come at any time is waited for. */
const ANY_US = 900e6
const IP_AND_TCP_BYTES = 40

export interface RunOptions {
  /** Less is compared, as `Rules.isLoose` has it. Default false. */
  readonly isLoose?: boolean
}

/** Runs a script from its text. What goes wrong is in the result, also an error of the stack; nothing is thrown. */
export function runScript(text: string, options: RunOptions = {}): Result {
  let run: Run | undefined
  try {
    const script = parse(text)
    run = new Run(script, options)
    run.all()
    return { kind: 'pass', line: 0, reason: '', log: run.log }
  } catch (error) {
    const log = run?.log ?? []
    const cause = original(error)
    if (cause instanceof Unsupported) return { kind: 'skip', line: cause.line, reason: cause.message, log }
    const line = cause instanceof ScriptFailure ? cause.line : (run?.line ?? 0)
    const what = run === undefined ? 'the script cannot be read' : 'the host has failed'
    const reason = cause instanceof ScriptFailure ? cause.message : `${what}: ${describe(cause)}`
    return { kind: 'fail', line, reason, log }
  } finally {
    run?.abandon()
  }
}

/** What a call has thrown within a turn of the host comes as the failure of its CPU. */
function original(error: unknown): unknown {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof Unsupported || cause instanceof ScriptFailure) return cause
  }
  return error
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

interface Pending {
  readonly call: Call
  readonly line: number
  readonly running: Running<Outcome>
  readonly endUs: number
  readonly beganUs: number
}

class Run {
  /** Of the event that is run. */
  line = 0
  readonly #log: { readonly us: number; readonly text: string }[] = []
  readonly #settings: Settings
  readonly #events: readonly Event[]
  readonly #computer: Computer
  readonly #flows: Flows
  readonly #calls: Calls
  readonly #originUs: number
  readonly #isLoose: boolean
  /** When the last event was, in the script's time. */
  #lastUs = 0
  #pending: Pending | undefined = undefined

  constructor(script: Script, options: RunOptions) {
    this.#isLoose = options.isLoose ?? false
    this.#settings = defaultSettings()
    for (const option of script.options) applyOption(this.#settings, option)
    const first = script.events.findIndex(({ time, action }) => time.kind !== 'none' || action.kind !== 'command')
    for (const { action, line } of script.events.slice(0, first)) {
      if (action.kind === 'command') applyCommand(this.#settings, action.text, line)
    }
    this.#events = script.events.slice(Math.max(first, 0))
    this.#computer = new Computer(this.#settings)
    this.#flows = new Flows(this.#settings)
    this.#calls = new Calls({ computer: this.#computer, settings: this.#settings, flows: this.#flows })
    this.#originUs = this.#computer.nowUs
  }

  all(): void {
    for (const event of this.#events) {
      this.line = event.line
      this.#one(event)
    }
    this.#finishCall()
    this.#calls.release()
    this.#computer.finish()
  }

  abandon(): void {
    this.#computer.abandon()
  }

  get #nowUs(): number {
    return this.#computer.nowUs - this.#originUs
  }

  #one({ action, time, line }: Event): void {
    switch (action.kind) {
      case 'packet':
        if (action.packet.direction === 'in') this.#inject(action.packet, this.#due(time), line)
        else this.#expect(action.packet, time, line)
        break
      case 'call':
        this.#call(action.call, time, line)
        break
      case 'code':
        this.#advance(this.#due(time), line)
        this.#check(action.text, line)
        break
      default:
        this.#advance(this.#due(time), line)
        this.#command(action.text, line)
    }
  }

  /** When an event is due, in the script's time. */
  #due(time: Time): number {
    if (time.kind === 'absolute') return time.us
    return this.#lastUs + (time.kind === 'relative' ? time.us : 0)
  }

  /** Lets time pass until an event is due. */
  #advance(dueUs: number, line: number): void {
    if (this.#nowUs > dueUs + this.#toleranceAt(dueUs)) {
      const sentence = `it is due at ${formatTime(dueUs)}, but the packet before came at ${formatTime(this.#nowUs)} only`
      throw new ScriptFailure(line, sentence)
    }
    this.#computer.runUntil(this.#originUs + dueUs)
    this.#lastUs = Math.max(this.#lastUs, dueUs)
  }

  #toleranceAt(dueUs: number): number {
    const { toleranceUs, tolerancePercent } = this.#settings
    return Math.max(toleranceUs, ((dueUs - this.#lastUs) * tolerancePercent) / 100)
  }

  #inject(packet: Packet, dueUs: number, line: number): void {
    this.#advance(dueUs, line)
    const flow = this.#flows.of(packet)
    if (packet.kind === 'tcp' && packet.flags.includes('S') && !flow.isBegun) {
      flow.isBegun = true
      flow.peer.script = packet.start
    }
    this.#note(this.#nowUs, formatPacket(packet))
    const pieces = piecesOf(packet, this.#settings.mtu)
    this.#computer.inject(pieces.map((piece) => encode(piece, flow, line, this.#settings.timestampEchoScaled)))
  }

  #expect(packet: Packet, time: Time, line: number): void {
    const flow = this.#flows.of(packet)
    const dueUs = this.#due(time)
    const endUs = time.kind === 'absolute' || time.kind === 'relative' ? time.endUs : undefined
    const lastDueUs = endUs === undefined ? dueUs : time.kind === 'relative' ? this.#lastUs + endUs : endUs
    const waitUntilUs = time.kind === 'any' ? this.#nowUs + ANY_US : Math.max(lastDueUs, this.#nowUs) + LATE_US
    const actual = this.#next(packet, flow, waitUntilUs)
    const script = `script packet: ${formatTime(dueUs)} ${formatPacket(packet)}`
    if (actual === undefined) {
      const sentence = `nothing came until ${formatTime(this.#nowUs)}`
      throw new ScriptFailure(line, `${sentence}\n${script}`)
    }
    const toleranceUs = this.#toleranceAt(dueUs)
    // What timestamps are off adds up from the beginning.
    const rules = {
      timestampTickUs: this.#settings.timestampTickUs,
      isLoose: this.#isLoose,
      toleranceUs: Math.max(this.#settings.toleranceUs, (dueUs * this.#settings.tolerancePercent) / 100),
    }
    const fault =
      difference(packet, actual, rules) ??
      contentFault(actual, flow) ??
      (time.kind === 'any' ? undefined : timeFault(actual.atUs, dueUs, lastDueUs, toleranceUs))
    if (fault !== undefined) {
      const text = `actual packet: ${formatTime(actual.atUs)} ${formatPacket(actual.packet)}`
      throw new ScriptFailure(line, `${fault}\n${script}\n${text}`)
    }
    this.#lastUs = Math.max(this.#lastUs, actual.atUs)
  }

  /** What the host has sent of a flow: as much of it as the script has in one segment. */
  #next(expected: Packet, flow: Flow, untilUs: number): Actual | undefined {
    let whole = this.#nextOne(expected, flow, untilUs)
    if (whole === undefined || expected.kind !== 'tcp' || this.#settings.strictSegments) return whole
    const segmentBytes = whole.payload.length
    while (whole.packet.kind === 'tcp' && segmentBytes > 0 && whole.payload.length < expected.length) {
      const next = this.#nextOne(expected, flow, untilUs)
      if (next === undefined) return whole
      const left = expected.length - whole.payload.length
      const joined = join(whole, next, segmentBytes, left)
      if (joined === undefined) return whole
      whole = joined
    }
    return whole
  }

  #nextOne(expected: Packet, flow: Flow, untilUs: number): Actual | undefined {
    for (;;) {
      this.#computer.runUntil(this.#originUs + untilUs, () => this.#computer.next !== undefined)
      const sent = this.#computer.takeNext()
      if (sent === undefined) return undefined
      if (!isOf(sent, expected, flow)) continue
      const { tcp } = sent.frame
      if (tcp?.flags.includes('S') === true) flow.beginHost(tcp.seq, expected)
      noteStamp(expected, sent, flow)
      const actual = actualOf(sent.frame, flow, sent.atUs - this.#originUs)
      if (actual === undefined) continue
      this.#note(actual.atUs, formatPacket(actual.packet))
      return actual
    }
  }

  #call(call: Call, time: Time, line: number): void {
    // One call at a time, as a program makes them: the next is after the end of the last.
    this.#finishCall()
    const dueUs = this.#due(time)
    const base = time.kind === 'relative' ? this.#lastUs : 0
    this.#advance(dueUs, line)
    const attempt = this.#calls.attempt(call, line)
    const running = this.#computer.begin(attempt)
    const endUs = call.endUs === undefined ? dueUs : base + call.endUs
    this.#pending = { call, line, running, endUs, beganUs: dueUs }
    if (call.endUs === undefined) this.#finishCall()
  }

  /** The call that was begun last has to end when the script says. */
  #finishCall(): void {
    const pending = this.#pending
    if (pending === undefined) return
    this.#pending = undefined
    const { call, line, running, endUs, beganUs } = pending
    const { toleranceUs, tolerancePercent } = this.#settings
    const tolerance = Math.max(toleranceUs, ((endUs - beganUs) * tolerancePercent) / 100)
    const isBlocking = call.endUs !== undefined
    const limitUs = endUs + (isBlocking ? LATE_US : toleranceUs)
    this.#computer.runUntil(this.#originUs + limitUs, () => running.result !== undefined)
    const { result } = running
    if (result === undefined) {
      throw new ScriptFailure(line, `${call.name}() has not returned until ${formatTime(this.#nowUs)}`)
    }
    const endedUs = running.endedAtUs - this.#originUs
    this.#note(endedUs, `${call.name}() = ${result.value}${result.errno === undefined ? '' : ` ${result.errno}`}`)
    if (Math.abs(endedUs - endUs) > tolerance) {
      const sentence = `${call.name}() is expected to return at ${formatTime(endUs)}, and has returned at ${formatTime(endedUs)}`
      throw new ScriptFailure(line, sentence)
    }
    if (isBlocking) this.#lastUs = Math.max(this.#lastUs, Math.min(endedUs, this.#nowUs))
    this.#checkResult(call, result, line)
  }

  #checkResult(call: Call, { value, errno, mismatch, descriptor }: Outcome, line: number): void {
    if (mismatch !== undefined) throw new ScriptFailure(line, `${call.name}(): ${mismatch}`)
    const expected = call.result.kind === 'any' ? undefined : numberOf(call.result, line, 'the result')
    const actual = descriptor === undefined ? `${value}${errno === undefined ? '' : ` ${errno}`}` : 'a descriptor'
    const wanted = `${expected ?? '...'}${call.errno === undefined ? '' : ` ${call.errno}`}`
    const fail = () => {
      throw new ScriptFailure(line, `${call.name}() is expected to return ${wanted}, and has returned ${actual}`)
    }
    if (call.errno !== undefined && call.errno !== errno) fail()
    if (descriptor !== undefined) {
      if (expected === undefined || expected < 0) return fail()
      if (!this.#calls.add(expected, descriptor))
        throw new ScriptFailure(line, `the script has a descriptor ${expected} already`)
    } else if (expected !== undefined && expected !== value) fail()
  }

  #check(code: string, line: number): void {
    const flow = this.#flows.current
    const { memory } = this.#computer.machine
    const broken = checkAssertions(code, line, (name) => {
      if (flow === undefined && name.startsWith('tcpi_')) throw new ScriptFailure(line, 'there is no connection to ask')
      return infoOf(memory, flow?.pcb() ?? 0, name)
    })
    if (broken !== undefined) throw new ScriptFailure(line, `${broken} (at ${formatTime(this.#nowUs)})`)
  }

  /** Settings are made before the host is there. */
  #command(text: string, line: number): void {
    const changed = { ...this.#settings }
    applyCommand(changed, text, line)
    const names = Object.keys(changed) as (keyof Settings)[]
    const name = names.find((each) => changed[each] !== this.#settings[each])
    if (name !== undefined)
      throw new Unsupported(line, `a setting that changes while the script runs is not supported: ${text}`)
  }

  /** What was seen, in the order in which it happened: packets of the host are looked at when the script expects them. */
  get log(): string[] {
    const sorted = [...this.#log].sort((a, b) => a.us - b.us)
    return sorted.map(({ us, text }) => `${formatTime(us).padStart(12)} ${text}`)
  }

  #note(us: number, text: string): void {
    this.#log.push({ us, text })
  }
}

/** What is too large for the link comes as several segments, as a card would have put them together. */
function piecesOf(packet: Packet, mtu: number): readonly Packet[] {
  if (packet.kind !== 'tcp') return [packet]
  const optionsBytes =
    packet.options === 'any' ? 0 : packet.options.reduce((sum, option) => sum + optionBytes(option), 0)
  const most = mtu - IP_AND_TCP_BYTES - optionsBytes
  const pieces: TcpPacket[] = []
  for (let at = 0; at === 0 || at < packet.length; at += most) {
    const length = Math.min(most, packet.length - at)
    const isLast = at + length >= packet.length
    const flags = isLast ? packet.flags : packet.flags.replace(/[FP]/g, '')
    pieces.push({ ...packet, start: (packet.start + at) % 2 ** 32, length, flags })
  }
  return pieces
}

/** Whether a frame is of the flow; ICMP is looked at only where the script expects it. */
function isOf({ frame: { ip, tcp, udp, icmp } }: SentFrame, expected: Packet, { ends }: Flow): boolean {
  if (ip === undefined || ip.target !== ends.remoteAddress) return false
  if (icmp !== undefined) return expected.kind === 'icmp'
  const header = ends.protocol === 'tcp' ? tcp : udp
  return (
    header !== undefined &&
    ip.source === ends.localAddress &&
    header.sourcePort === ends.localPort &&
    header.targetPort === ends.remotePort
  )
}

/** The script's name for an outbound timestamp is what it expects in its place. */
function noteStamp(expected: Packet, { frame }: SentFrame, flow: Flow): void {
  const live = frame.tcp?.timestamps?.value
  if (live === undefined || expected.kind !== 'tcp' || expected.options === 'any') return
  const stamp = expected.options.find(({ kind }) => kind === 'TS')
  if (stamp?.kind === 'TS') flow.noteStamp(stamp.value, live)
}

/** Two segments as the one that they were cut from; undefined where they do not belong together. All but the last are of one size. */
function join(whole: Actual, next: Actual, segmentBytes: number, left: number): Actual | undefined {
  if (whole.packet.kind !== 'tcp' || next.packet.kind !== 'tcp') return undefined
  const { length } = next.payload
  if (discontinuity(whole.packet, next.packet) !== undefined || length > left) return undefined
  if (length < left && length !== segmentBytes) return undefined
  const last = [...next.packet.flags].filter((letter) => letter === 'F' || letter === 'P').join('')
  const packet: TcpPacket = {
    ...whole.packet,
    length: whole.payload.length + length,
    flags: `${last}${whole.packet.flags.replace(/[FP]/g, '')}`,
  }
  return { ...next, packet, payload: Buffer.concat([whole.payload, next.payload]) }
}

/** The bytes are those that the program has written. */
function contentFault({ packet, payload }: Actual, flow: Flow): string | undefined {
  if (packet.kind === 'udp' && flow.datagrams.length > 0) {
    const sent = flow.datagrams.shift()!
    return Buffer.compare(sent, payload) === 0 ? undefined : 'the datagram is not what the program has sent'
  }
  if (packet.kind !== 'tcp' || payload.length === 0 || flow.written === undefined) return undefined
  const offset = ((packet.start - (packet.flags.includes('S') ? flow.host.script : 1)) | 0) >>> 0
  return flow.written.has(payload, offset) ? undefined : 'the segment has bytes that the program has not written there'
}

function timeFault(atUs: number, fromUs: number, toUs: number, toleranceUs: number): string | undefined {
  if (atUs >= fromUs - toleranceUs && atUs <= toUs + toleranceUs) return undefined
  const range = fromUs === toUs ? formatTime(fromUs) : `${formatTime(fromUs)} to ${formatTime(toUs)}`
  return `the packet is expected at ${range}, and has come at ${formatTime(atUs)}`
}
