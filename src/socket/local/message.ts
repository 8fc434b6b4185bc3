// What local sockets on different CPUs tell each other. Between two on one CPU the same are calls.
//
// A notice is a few numbers for one socket. A letter has texts; it is rare, and travels as a packet of JSON (packet.ts). What is sent from one
// CPU to another arrives in order, data, notices and letters alike: all of the protocol rests on that.
import { u16, u32 } from '../../base/struct.ts'
import { message } from '../../kernel/message.ts'
import type { Buffers, LocalAddress, LocalCredentials, LocalKind } from './kind.ts'

export const Notice = message('local notice', {
  op: u16, //        48  Op
  padding: u16, //   50
  id: u32, //        52  the socket that it is for
  a: u32, //         56
  b: u32, //         60
})
export const LongNotice = message('local long notice', {
  op: u16,
  padding: u16,
  id: u32,
  a: u32,
  b: u32,
  c: u32, //         64
  d: u32, //         68
  e: u32, //         72
  f: u32, //         76
})

export const Op = {
  // Between the ends of a connection.
  /** Of what the peer has sent, a bytes and b messages have been read. */
  consumed: 1,
  /** The peer sends no more. */
  end: 2,
  /** The peer reads no more. */
  deaf: 3,
  /** The peer is closed; a: it had not read all. Answered by `gone`. */
  closed: 4,
  /** Nothing will come from the peer any more: the last. */
  gone: 5,
  /** Something came to the closed peer. */
  reset: 6,
  /** a: what the peer wants each message to carry. */
  wants: 7,

  // Of a socket that is given to another CPU.
  /** To where it is: it is to go to socket b of CPU a. */
  take: 8,
  /** To its peer: it is going to be socket b of CPU a. Answered by `parted` to socket d of CPU c. */
  moving: 9,
  /** Nothing comes from its peer here any more. */
  parted: 10,
  /** To where it is: the message that had it is lost. */
  lose: 11,
  /** To where the right of a port was given out: it is over. */
  release: 12,

  // Between a datagram socket and its target.
  /** Socket b of CPU a has, in its lane c, d messages of e bytes together; the first has f. */
  ask: 13,
  /** There is room for b messages of c bytes in all from lane a; d: what they are to carry. */
  grant: 14,
  /** Nothing for lane a: b is why; c: the target is not there. */
  refuse: 15,
  /** The grant for lane c of socket b of CPU a is not used. */
  ungrant: 16,
} as const

/** What an end tells the other one of itself. */
export interface EndInfo extends LocalAddress, Buffers {
  readonly wants: number
  readonly name: string
  readonly credentials: LocalCredentials
}

/** Of a socket on its way to another CPU: all but what it has received, which goes before. */
export interface EndState {
  readonly peer: LocalAddress | undefined
  readonly name: string
  readonly peerName: string
  readonly peerCredentials: LocalCredentials | undefined
  readonly buffers: Buffers
  readonly wants: number
  readonly peerWants: number
  readonly limitBytes: number
  readonly limitMessages: number
  readonly outstandingBytes: number
  readonly outstandingMessages: number
  readonly consumedBytes: number
  readonly consumedMessages: number
  readonly flags: number
  readonly errno: number
}

/** What a name stands for. */
export type NameUse = 'listener' | 'datagram' | 'name'

export type Letter =
  // To the CPU that keeps a name, and back.
  | ({
      readonly op: 'bind'
      readonly name: string
      readonly use: NameUse
      readonly kind: LocalKind
      readonly shared: boolean
    } & LocalAddress)
  | { readonly op: 'bound'; readonly id: number; readonly errno: number }
  | ({ readonly op: 'unbind'; readonly name: string } & LocalAddress)
  | ({ readonly op: 'resolve'; readonly name: string; readonly lane: number } & LocalAddress)
  | {
      readonly op: 'resolved'
      readonly id: number
      readonly lane: number
      readonly errno: number
      readonly target: LocalAddress
    }
  // To the CPU that keeps the name, from there to the listener, and back.
  | {
      readonly op: 'connect'
      readonly name: string
      readonly kind: LocalKind
      readonly info: EndInfo
      readonly listener: number
    }
  | { readonly op: 'connected'; readonly id: number; readonly info: EndInfo }
  | { readonly op: 'refused'; readonly id: number; readonly errno: number }
  // Of a socket that goes to another CPU.
  | { readonly op: 'state'; readonly id: number; readonly state: EndState }
