// A message is a record in the machine's memory. Only its current owner touches it: the originator before
// the send and after the reply, the target in between. An mbuf embeds one, so that passing a packet allocates nothing.
import { assert } from '../base/assert.ts'
import { hashName } from '../base/hash.ts'
import { type Address, type Fields, f64, i32, type Struct, struct, u16, u32, type Views } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'

/** Bits of `state`. An unsent message is DONE. */
export const MessageFlag = {
  /** Nobody works on it: never sent, or finished. */
  DONE: 1 << 0,
  /** It comes back with an answer. */
  REPLY: 1 << 1,
  /** It was sent and not yet taken: it is in a port's queue, or on its way there. */
  QUEUED: 1 << 2,
  /** The originator waits for it (`call`): the reply wakes and does not queue. */
  SYNC: 1 << 3,
  /** `drop` may take it out of the queue it is in. */
  DROPABLE: 1 << 6,
  /** `abort` may be called: `onAbort` says what then runs, on the originating CPU. */
  ABORTABLE: 1 << 7,
  /** Served before messages that have it not. */
  PRIORITY: 1 << 8,
  /** `onReceipt` runs on the target's CPU when the message has been put, before it can be pulled. */
  RECEIPT: 1 << 9,
  /** It is recorded how it came here, as `trace`; without this flag that word is of an earlier way. */
  TRACED: 1 << 10,
  /** Else: with 1/N it was left out, where it was sent or came. With neither nobody was asked. */
  LEFT_OUT: 1 << 11,
  USER0: 1 << 12,
  USER1: 1 << 13,
  USER2: 1 << 14,
  USER3: 1 << 15,
} as const

/** What a handler returns for a message that it answers later, by `reply`, `forward` or `free`. */
export const EASYNC = -1

const header = {
  state: u32, //        0  MessageFlag
  next: u32, //         4  the next in the queue that it is in
  sentTo: u32, //       8  the port
  replyPort: u32, //   12  where its reply goes
  type: u32, //        16  hash of the type's name
  error: i32, //       20  the answer: 0 or an errno
  origin: u16, //      24  the CPU that sent it
  from: u16, //        26  the CPU that put it where it is now: another than `origin` after a forward
  sequence: u32, //    28  for the order checker: counts what `from` put on `port`
  queuedAt: f64, //    32  µs: the time of the put, by the clock of the sender's turn
  trace: i32, //       40  TraceId: how it came here, with TRACED (trace/tracer.ts)
  onAbort: u16, //     44  id of a registered function; 0 again once the abort was asked for
  onReceipt: u16, //   46  id of a registered function
}

/** What every message begins with. The type's own fields follow at 48. */
export const MessageHeader = struct(header)
assert(MessageHeader.size === 48, 'a message header is 48 bytes, so that one with four words is a cache line')

export type HeaderFields = typeof header

export interface MessageType<F extends Fields> extends Struct<HeaderFields & F> {
  readonly name: string
  /** Hash of the name: the same number on every CPU. */
  readonly type: number
}

/**
 * Declares a type of message: `message('add', { a: f64, b: f64, sum: f64 })`.
 * Read and written through a cursor (`Add.cursor(cpu.memory)`), allocated by `cpu.ports.allocate(Add)`.
 */
export function message<F extends Fields>(name: string, fields: F): MessageType<F> {
  for (const own of Object.keys(fields))
    assert(!(own in header), "a message's own field has a name that its header has")
  const record = struct({ ...header, ...fields }) as Struct<HeaderFields & F>
  const type = hashName(name)
  typeNames.set(type, name)
  return { ...record, name, type }
}

const typeNames = new Map<number, string>()

/** What a type of messages is called, for whoever reads a trace; its number where this thread does not know it. */
export function messageTypeName(type: number): string {
  return typeNames.get(type >>> 0) ?? `type ${type >>> 0}`
}

/** Whether the processor makes plain stores visible in the order of the program (x86-TSO). */
export const STORES_IN_ORDER = typeof process !== 'undefined' && (process.arch === 'x64' || process.arch === 'ia32')

/** How messages of some types are freed that are more than their record: see `onFree`. */
export const releases = new Map<number, (cpu: Cpu, address: Address) => void>()

/**
 * Says how a message of `type` is freed when nobody takes it, its port being closed: for messages that own more than their
 * own record. At module level.
 */
export function onFree(type: number, release: (cpu: Cpu, address: Address) => void): void {
  assert(!releases.has(type), 'a type of message is freed in one way')
  releases.set(type, release)
}

/** A message that carries nothing but itself. */
export const Plain = message('plain', {})

const { DONE, TRACED } = MessageFlag
const TRACE = MessageHeader.offset.trace >> 2

/** What the trace of a message says; 0: nothing. For whoever only reads. */
export function traceOf(words: Int32Array, message: Address): number {
  const w = message >> 2
  return (words[w]! & TRACED) === 0 ? 0 : words[w + TRACE]!
}

/**
 * Makes `address` an unsent message: DONE, no error, nothing to abort. What its send sets is left as it is: the line was last
 * another CPU's, and every store to it waits there (three stores less were 7 % more messages a second).
 */
export function initialize(views: Views, address: Address, type: number, replyPort: number): void {
  const w = address >> 2
  const words = views.i32
  words[w] = DONE
  words[w + 3] = replyPort
  words[w + 4] = type
  words[w + 5] = 0
  // The trace, and the two functions: both words at once.
  views.f64[(address >> 3) + 5] = 0
}
