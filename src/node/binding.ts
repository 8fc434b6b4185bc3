// The part of Node's own C++ side that its net and dgram are written over, and that handles of ours are written against:
// `process.binding`, which is deprecated in the documentation (DEP0111), silent, and there in Node 20 to 26.
// For the files of this folder only.
import { errnoName } from '../base/errno.ts'

/** A request as net.js makes it: it is given to a method of the handle, which calls `oncomplete` when it is over. */
export interface Request {
  oncomplete?: ((...results: never[]) => void) | undefined
  /** Node 26, of writes: the status of one that ended before `oncomplete` was attached. */
  writeStatus?: number | null
  /** Names what was wrong, in an error's message. */
  error?: string | undefined
}

/**
 * The stream class whose bytes are supplied by JavaScript. What C++ wants of it (TLS, HTTP/2, the HTTP parser) it asks by
 * the methods `on…` and `isClosing`, which a subclass has.
 */
export interface JsStream {
  readBuffer(bytes: Uint8Array): void
  emitEOF(): void
  finishWrite(request: Request, status: number): void
  finishShutdown(request: Request, status: number): void
  getAsyncId(): number
}

type Class<Instance> = { new (...parameters: never[]): Instance; readonly prototype: object }

interface TcpWrap {
  TCP: Class<object>
  readonly constants: { readonly SOCKET: number; readonly SERVER: number; readonly [name: string]: number }
}

interface UdpWrap {
  UDP: Class<object>
  readonly constants: { readonly [name: string]: number }
}

interface StreamWrap {
  readonly kReadBytesOrError: number
  readonly kArrayBufferOffset: number
  readonly kBytesWritten: number
  readonly kLastWriteWasAsync: number
  /** Since Node 26. */
  readonly kLastWriteErr?: number
  /** Side results of the last call, between C++ and JavaScript. */
  readonly streamBaseState: Int32Array
}

interface Bindings {
  readonly tcp_wrap: TcpWrap
  readonly udp_wrap: UdpWrap
  readonly stream_wrap: StreamWrap
  readonly js_stream: { readonly JSStream: new () => JsStream }
  readonly uv: { errname(number: number): string; readonly [name: string]: unknown }
}

/** What this file knows of `process` that its types do not tell. */
interface InnerProcess {
  binding<Name extends keyof Bindings>(name: Name): Bindings[Name]
  /** Runs what process.nextTick and promises have queued, as Node does after each call from C++. */
  _tickCallback?: () => void
  /** What C++ calls with an exception that nobody has caught: tells the listeners, and clears the stack of asynchronous resources. */
  _fatalException(error: unknown): boolean
  /** Names of the modules that were loaded until now. */
  readonly moduleLoadList: readonly string[]
}

const inner = process as unknown as InnerProcess

export function binding<Name extends keyof Bindings>(name: Name): Bindings[Name] {
  return inner.binding(name)
}

/** Whether a module of Node itself is loaded: it has then taken from the bindings what it uses. */
export function isLoaded(module: string): boolean {
  return inner.moduleLoadList.includes(`NativeModule ${module}`)
}

/** `process._tickCallback`; where a Node no longer has it, ticks run at the end of the event loop's callback. */
export const runTicks: () => void = inner._tickCallback ?? (() => {})

/**
 * An exception of the program's where JavaScript may not throw. Where anybody listens for such it is told at once; else it is thrown
 * on, and must end the process.
 */
export function uncaught(error: unknown): void {
  const isHeard = process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback()
  if (!isHeard) throw error
  inner._fatalException(error)
}

/** libuv's number of an errno: what handles return. The same but for the sign on Linux, and others elsewhere. */
export function uvError(errno: number): number {
  return uv(errnoName(errno)) ?? -errno
}

/** `-104` → `'ECONNRESET'`. Not by node:util, which loads the standard streams, and net with them, in Node 22 and later. */
export function uvName(number: number): string {
  return binding('uv').errname(number)
}

function uv(name: string): number | undefined {
  const number = binding('uv')[`UV_${name}`]
  return typeof number === 'number' ? number : undefined
}

function known(name: string): number {
  const number = uv(name)
  if (number === undefined) throw new Error(`this Node's libuv has no error ${name}: it is not one of 20 to 26`)
  return number
}

/** The numbers that handles return by themselves. */
export const Uv = {
  EOF: known('EOF'),
  EADDRINUSE: known('EADDRINUSE'),
  EAFNOSUPPORT: known('EAFNOSUPPORT'),
  EAGAIN: known('EAGAIN'),
  EALREADY: known('EALREADY'),
  EBADF: known('EBADF'),
  ECANCELED: known('ECANCELED'),
  EADDRNOTAVAIL: known('EADDRNOTAVAIL'),
  EDESTADDRREQ: known('EDESTADDRREQ'),
  EINVAL: known('EINVAL'),
  EISCONN: known('EISCONN'),
  EMSGSIZE: known('EMSGSIZE'),
  ENETDOWN: known('ENETDOWN'),
  ENOBUFS: known('ENOBUFS'),
  ENODEV: known('ENODEV'),
  ENOTCONN: known('ENOTCONN'),
  ENOTSUP: known('ENOTSUP'),
  EPIPE: known('EPIPE'),
  ETIMEDOUT: known('ETIMEDOUT'),
} as const
