// A chain of hops: how something came to be where it is, from the latest hop back to the origin. What `where()` gives, what an error's
// stack goes on with, and what travels to other processes (wire.ts). Plain data: nothing here refers to the machine's memory.

/** A place in a program. Line and column begin with 1; 0 where they are not known. */
export interface Frame {
  /** As V8 names it: `Server.accept`, `async main`; empty for what has no name. */
  readonly function: string
  /** A path, a `file:` or `node:` URL. */
  readonly file: string
  readonly line: number
  readonly column: number
}

/** How a hop came about. */
export const HOP_KINDS = [
  /** A message was sent to a port: asynchronously, and as a call that somebody waits for. */
  'send',
  'call',
  /** Its owner passed it on. */
  'forward',
  /** It was answered. */
  'reply',
  /** Its sender asked for an early end. */
  'abort',
  /** A function was sent to another CPU. */
  'ipi',
  /** A timer was armed that has fired. */
  'timer',
  /** A sleeper was woken. */
  'wakeup',
  /** A thread was started, and went on on another CPU. */
  'thread',
  'migrate',
  /** A packet came from a device. */
  'packet',
  /** A datagram was sent by a program. */
  'datagram',
  /** A segment of TCP left its connection, caused by what was written; or left it again. */
  'segment',
  'retransmit',
  /** A packet was given to a device. */
  'transmit',
  /** A program took what had come for it: data, or a connection. */
  'read',
  'accept',
  /** Something was sent to another process, or over a UNIX-domain socket. */
  'process',
  /** A trace that began elsewhere goes on here: a request that told its context (context.ts), or a span. */
  'remote',
] as const
export type HopKind = (typeof HOP_KINDS)[number]

export interface Hop {
  readonly kind: HopKind
  /** The CPU on which it happened. */
  readonly cpu: number
  /** To which port, by its name or else its number; or to what else. Empty where there is no such thing. */
  readonly to: string
  /** When, by its machine's clock, µs; 0 where it was not timed. */
  readonly atUs: number
  /** Its number on its machine; 0 where it has none. */
  readonly id: number
  /** The process that it happened in, where that is another one than the reader's. */
  readonly process?: { readonly pid: number; readonly title: string }
  /** Nobody has looked at the stack: it is where others like it came from, without exception as yet. */
  readonly isInferred?: true
  /** The stack from which it was done, innermost first; empty where none was taken. */
  readonly frames: readonly Frame[]
}

/** Where a chain ends: at its origin, or where the rest is no longer kept, or would be too long. */
export const CHAIN_ENDS = ['origin', 'evicted', 'limit'] as const
export type ChainEnd = (typeof CHAIN_ENDS)[number]

export interface Chain {
  /** The latest first. */
  readonly hops: readonly Hop[]
  readonly end: ChainEnd
}

export const EMPTY_CHAIN = { hops: [], end: 'origin' } as const satisfies Chain

const VERBS: Readonly<Record<HopKind, string>> = {
  send: 'sent',
  call: 'called',
  forward: 'forwarded',
  reply: 'answered',
  abort: 'aborted',
  ipi: 'sent as an IPI',
  timer: 'timer armed',
  wakeup: 'woken',
  thread: 'thread started',
  migrate: 'migrated',
  packet: 'packet received',
  datagram: 'datagram sent',
  segment: 'segment sent',
  retransmit: 'segment sent again',
  transmit: 'transmitted',
  read: 'read',
  accept: 'accepted',
  process: 'sent by UNIX socket',
  remote: 'continued',
}
const PREPOSITION: Partial<Record<HopKind, string>> = {
  thread: 'as',
  migrate: 'to',
  packet: 'from',
  datagram: 'from',
  segment: 'from',
  retransmit: 'from',
  transmit: 'to',
  read: 'from',
  accept: 'from',
  timer: 'for',
  ipi: 'for',
  wakeup: 'on',
  remote: 'from trace',
}

/**
 * The text that a stack goes on with: for each hop a line of how, by whom and how long before the hop that it led to, and its frames.
 *
 *     sent by cpu 0 on port tcp, 12.0 µs earlier:
 *         at ask (program.ts:12:8)
 *
 * `nowUs` is when the trace is looked at, by the clock of the machine of the first hop.
 */
export function chainText(chain: Chain, nowUs: number): string {
  const lines: string[] = []
  let later = nowUs
  let process: number | undefined
  for (const hop of chain.hops) {
    // Clocks of two processes are not compared, and what has no time was not timed.
    const isComparable = hop.atUs !== 0 && (hop.process?.pid === process || lines.length === 0)
    process = hop.process?.pid
    lines.push(hopLine(hop, isComparable ? later - hop.atUs : undefined))
    lines.push(...hop.frames.map(frameLine))
    later = hop.atUs
  }
  if (chain.end === 'evicted') lines.push('(what came before is no longer kept)')
  if (chain.end === 'limit') lines.push('(and more before that)')
  return lines.join('\n')
}

/** As V8 writes it. */
export function frameLine({ function: name, file, line, column }: Frame): string {
  const place = line === 0 ? file : `${file}:${line}:${column}`
  return name === '' ? `    at ${place}` : `    at ${name} (${place})`
}

/** A hop in short: `sent by cpu 0 on port tcp: ask (program.ts:12)`. */
export function hopTitle(hop: Hop): string {
  const [frame] = hop.frames
  if (frame === undefined) return hopText(hop)
  const place = `${frame.file.slice(frame.file.lastIndexOf('/') + 1)}:${frame.line}`
  return `${hopText(hop)}: ${frame.function === '' ? place : `${frame.function} (${place})`}`
}

function hopLine(hop: Hop, agoUs: number | undefined): string {
  const ago = agoUs === undefined ? '' : `, ${durationText(agoUs)} earlier`
  return `${hopText(hop)}${ago}${hop.isInferred === true ? ', from where all like it have come so far' : ''}:`
}

function hopText({ kind, cpu, to, process }: Hop): string {
  const where = to === '' ? '' : ` ${PREPOSITION[kind] ?? 'on port'} ${to}`
  const who = process === undefined ? `cpu ${cpu}` : `cpu ${cpu} of process ${process.pid} (${process.title})`
  return `${VERBS[kind]} by ${who}${where}`
}

/** What happened at a hop of this kind. */
export function chainVerb(kind: HopKind): string {
  return VERBS[kind]
}

export function durationText(us: number): string {
  if (us < 1000) return `${us.toFixed(1)} µs`
  return us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`
}
