// The words of local sockets: kinds, options, and who is at the other end. See unix(7).
import { Errno, KernelError } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import type { ThreadId } from '../../kernel/thread.ts'

/** `stream`: bytes; `seqpacket`: messages between two, in order; `datagram`: messages, to whom one likes. None ever loses or reorders. */
export const LOCAL_KINDS = ['stream', 'seqpacket', 'datagram'] as const
export type LocalKind = (typeof LOCAL_KINDS)[number]

/** Which end this is, of all in the machine. */
export interface LocalAddress {
  readonly cpu: number
  readonly id: number
}

/** Who sent, or is at the other end (SO_PEERCRED, SCM_CREDENTIALS). The kernel fills it in: it cannot be forged by a program. */
export interface LocalCredentials {
  readonly cpu: number
  /** The thread; -1 where it was none: a handler, or a program on an event loop. */
  readonly thread: ThreadId | -1
  /** The thread's name, or else that of the CPU's program. */
  readonly name: string
}

/** What can be set of each local socket. */
export interface LocalOptions {
  /** Bytes that may be received and not read, with what belongs to them. Default 212 992 (rmem_default), at most 4 MiB. */
  readonly receiveBytes?: number
  /** Messages, or pieces of a stream, likewise. Default 256, at most 4096. */
  readonly receiveMessages?: number
  /** Bytes that may be sent and not read by the peer; of a datagram socket, that wait for their receivers. Default 212 992, at most 4 MiB. */
  readonly sendBytes?: number
  /** Each message that is received says who sent it (SO_PASSCRED). Default false. */
  readonly passCredentials?: boolean
  /** Each message that is received carries the stack of its sender, where the sender's CPU knows it (as SO_PASSCRED, for SCM_STACKTRACE). Default false. */
  readonly stackTrace?: boolean
}

export interface Buffers {
  readonly receiveBytes: number
  readonly receiveMessages: number
  readonly sendBytes: number
}

const BUFFER_BYTES = 212_992
const BUFFER_MESSAGES = 256

/** @throws KernelError EINVAL */
export function buffersOf(options: LocalOptions, syscall: string): Buffers {
  const { localBufferBytes: bytesMax, localBufferMessages: messagesMax } = Limits
  return {
    receiveBytes: whole('receiveBytes', options.receiveBytes ?? BUFFER_BYTES, bytesMax, syscall),
    receiveMessages: whole('receiveMessages', options.receiveMessages ?? BUFFER_MESSAGES, messagesMax, syscall),
    sendBytes: whole('sendBytes', options.sendBytes ?? BUFFER_BYTES, bytesMax, syscall),
  }
}

export function whole(what: string, value: number, max: number, syscall: string): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value
  throw new KernelError(Errno.EINVAL, `${what} is ${value}: give a whole number from 1 to ${max}`, syscall)
}

/** @throws KernelError EINVAL, ENAMETOOLONG */
export function checkName(name: string, syscall: string): string {
  const bytes = Buffer.byteLength(name)
  if (bytes === 0) throw new KernelError(Errno.EINVAL, 'the name is empty: give one, as "/run/service"', syscall)
  if (bytes <= Limits.localNameBytes) return name
  const sentence = `the name "${name.slice(0, 32)}…" has ${bytes} bytes: give at most ${Limits.localNameBytes}`
  throw new KernelError(Errno.ENAMETOOLONG, sentence, syscall)
}

/** @throws KernelError EINVAL where it is none, or none that has connections */
export function checkKind(kind: LocalKind, syscall: string, connected: boolean): LocalKind {
  if (LOCAL_KINDS.includes(kind) && !(connected && kind === 'datagram')) return kind
  const choice = connected ? 'stream or seqpacket' : LOCAL_KINDS.join(', ')
  throw new KernelError(Errno.EINVAL, `there is no such kind here as "${kind}": give ${choice}`, syscall)
}

/** In `wants` of a handshake and of a grant: what the receiver has each message carry. */
export const Want = { CREDENTIALS: 1, TRACE: 2 } as const

export function wantsOf(options: LocalOptions): number {
  return (options.passCredentials === true ? Want.CREDENTIALS : 0) | (options.stackTrace === true ? Want.TRACE : 0)
}
