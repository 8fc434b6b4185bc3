// Linux's system calls by FFI. Everything in this folder calls the operating system through a `Libc`, and nothing else
// does. koffi, an optional package, is loaded when the first one asks for it: a program without a TUN device never
// loads it. Each thread loads its own (a worker has its own modules).
//
// A call answers as the kernel itself does: 0 or more, or the errno, negative. Nothing here throws once it is loaded.
// Memory is passed as a plain number, the pointer of an array plus an offset: a view for each call would cost more than
// the call (a read that finds nothing takes 240 ns, of which 80 are koffi's and the rest the kernel's).
import { createRequire } from 'node:module'
import { assert } from '../../base/assert.ts'
import { Errno, KernelError } from '../../base/errno.ts'

/** An address of the process, as C knows it. Below 2^53 on every processor that `libc` accepts. */
export type Pointer = number

/** C's functions. A result below 0 is `-errno`. */
export interface Libc {
  /** open(2). */
  open(path: string, flags: number): number
  /** close(2). */
  close(descriptor: number): number
  /** read(2): up to `bytes` to `pointer`; answers how many. -EAGAIN where nothing is there. */
  read(descriptor: number, pointer: Pointer, bytes: number): number
  /** write(2). */
  write(descriptor: number, pointer: Pointer, bytes: number): number
  /** readv(2): `vectors` points to `count` records {u64 pointer, u64 bytes}. */
  readv(descriptor: number, vectors: Pointer, count: number): number
  /** writev(2): one packet that lies in several pieces. */
  writev(descriptor: number, vectors: Pointer, count: number): number
  /** ioctl(2). `argument` is a pointer or a number, as the request has it. */
  ioctl(descriptor: number, request: number, argument: number): number
  /** fcntl(2). */
  fcntl(descriptor: number, command: number, argument: number): number
  /** poll(2): `records` points to `count` records {i32 descriptor, i16 events, i16 revents}. Blocks the thread. */
  poll(records: Pointer, count: number, timeoutMs: number): number
  /** socket(2). */
  socket(domain: number, type: number, protocol: number): number
  /** eventfd(2). */
  eventfd(count: number, flags: number): number
  /** Adds `count` to an eventfd. */
  eventfdWrite(descriptor: number, count: number): number
  /** Takes an eventfd's count; what it was is not told. */
  eventfdRead(descriptor: number): number
  /**
   * Where `bytes` lies. It stays there as long as somebody holds the array or its buffer; the buffer of a
   * WebAssembly.Memory of fixed size stays for good.
   */
  pointer(bytes: Uint8Array): Pointer
  /** Another function of C, by its declaration (`'int dup(int)'`), with numbers only. `-errno` where it gives -1. */
  declare(definition: string): (...values: number[]) => number
  /** close(2) on a thread of libuv's pool, for what may block in it. `done` is called from the event loop, however it went. */
  closeElsewhere(descriptor: number, done: () => void): void
}

interface KoffiFunction {
  (...values: (number | string | Uint8Array)[]): number
  /** On a thread of libuv's pool; the last value is a callback. */
  async(...values: unknown[]): void
}

/** The part of koffi that is used. */
export interface Koffi {
  load(path: null): { func(definition: string): KoffiFunction }
  errno(): number
  address(bytes: Uint8Array): bigint
}

/** What needs these functions, and what does without: for the errors' sentences. */
export interface Purpose {
  readonly what: string
  readonly instead: string
}

const TUN_PURPOSE: Purpose = { what: 'TUN devices', instead: 'use another device' }

export interface LibcOptions {
  readonly purpose?: Purpose
  /** Loads koffi. */
  readonly load?: () => Koffi
  readonly platform?: string
  readonly architecture?: string
}

/** Processors with 64-bit little-endian Linux whose ioctl numbers and open flags are the generic ones. */
const ARCHITECTURES = new Set(['x64', 'arm64', 'riscv64', 'loong64'])

/** Code, not state: what `libc` loaded, for this thread. */
let loaded: Libc | undefined

/**
 * C's functions; loaded at the first call of a thread.
 * @throws KernelError EOPNOTSUPP where this is not Linux, ENODEV where koffi cannot be loaded
 */
export function libc(purpose: Purpose = TUN_PURPOSE): Libc {
  loaded ??= loadLibc({ purpose })
  return loaded
}

/** Why `libc` would throw here, or undefined where it does not. */
export function libcUnavailable(): string | undefined {
  try {
    libc()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** As `libc`, but always anew. For tests, which say what is loaded and where they run. */
export function loadLibc(options: LibcOptions = {}): Libc {
  const { load = loadKoffi, platform = process.platform, architecture = process.arch, purpose = TUN_PURPOSE } = options
  if (platform !== 'linux' || !ARCHITECTURES.has(architecture)) {
    const sentence = `${purpose.what} need Linux on ${[...ARCHITECTURES].join(', ')}, and this is ${platform} on ${architecture}: ${purpose.instead}`
    throw new KernelError(Errno.EOPNOTSUPP, sentence, 'dlopen')
  }
  let koffi: Koffi
  try {
    koffi = load()
  } catch (cause) {
    throw new KernelError(Errno.ENODEV, whyNotLoaded(cause, purpose), 'dlopen', { cause })
  }
  return bind(koffi)
}

function loadKoffi(): Koffi {
  return createRequire(import.meta.url)('koffi') as Koffi
}

function whyNotLoaded(cause: unknown, { what }: Purpose): string {
  const error = cause as NodeJS.ErrnoException
  if (error.code === 'MODULE_NOT_FOUND') return `${what} need the optional package koffi: npm install koffi`
  return `${what} need the optional package koffi, which is installed but does not load here (${error.message}): install it again with npm install koffi`
}

/**
 * A closure for each function, so that each call has type feedback of its own. The names of types are C99's: koffi does
 * not know ssize_t. open, ioctl and fcntl are declared without C's `...`: on these processors integers are passed alike.
 */
function bind(koffi: Koffi): Libc {
  const library = koffi.load(null)
  const open = library.func('int open(const char *, int, int)')
  const close = library.func('int close(int)')
  const read = library.func('int64_t read(int, uintptr_t, uint64_t)')
  const write = library.func('int64_t write(int, uintptr_t, uint64_t)')
  const readv = library.func('int64_t readv(int, uintptr_t, int)')
  const writev = library.func('int64_t writev(int, uintptr_t, int)')
  const ioctl = library.func('int ioctl(int, uint64_t, uintptr_t)')
  const fcntl = library.func('int fcntl(int, int, uintptr_t)')
  const poll = library.func('int poll(uintptr_t, uint64_t, int)')
  const socket = library.func('int socket(int, int, int)')
  const eventfd = library.func('int eventfd(unsigned int, int)')
  const eventfdWrite = library.func('int eventfd_write(int, uint64_t)')
  const eventfdRead = library.func('int eventfd_read(int, void *)')

  // Read at once: nothing may call C between a function that failed and this.
  const answer = (result: number) => (result < 0 ? -koffi.errno() : result)
  const pointer = (bytes: Uint8Array) => {
    assert(bytes.byteLength > 0, 'memory for the operating system is not empty')
    const address = koffi.address(bytes)
    assert(address > 0n && address + BigInt(bytes.byteLength) <= 2n ** 53n, 'a pointer is below 2^53')
    return Number(address)
  }
  /** Where `eventfdRead` puts what nobody wants to know. */
  const taken = new Uint8Array(8)

  return {
    open: (path, flags) => answer(open(path, flags, 0)),
    close: (descriptor) => answer(close(descriptor)),
    read: (descriptor, to, bytes) => answer(read(descriptor, to, bytes)),
    write: (descriptor, from, bytes) => answer(write(descriptor, from, bytes)),
    readv: (descriptor, vectors, count) => answer(readv(descriptor, vectors, count)),
    writev: (descriptor, vectors, count) => answer(writev(descriptor, vectors, count)),
    ioctl: (descriptor, request, argument) => answer(ioctl(descriptor, request, argument)),
    fcntl: (descriptor, command, argument) => answer(fcntl(descriptor, command, argument)),
    poll: (records, count, timeoutMs) => answer(poll(records, count, timeoutMs)),
    socket: (domain, type, protocol) => answer(socket(domain, type, protocol)),
    eventfd: (count, flags) => answer(eventfd(count, flags)),
    eventfdWrite: (descriptor, count) => answer(eventfdWrite(descriptor, count)),
    eventfdRead: (descriptor) => answer(eventfdRead(descriptor, taken)),
    pointer,
    declare: (definition) => {
      const call = library.func(definition)
      return (...values) => answer(call(...values))
    },
    closeElsewhere: (descriptor, done) => close.async(descriptor, () => done()),
  }
}
