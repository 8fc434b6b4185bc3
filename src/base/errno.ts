// What a caller must know is an errno, spelled as Node spells it, with a sentence that says what to do.

/** Linux's numbers (errno(3)): what a message carries in its `error` field. 0 is success. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOSPC: 28,
  EPIPE: 32,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  EPROTO: 71,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EPROTOTYPE: 91,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETOOMANYREFS: 109,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
  ECANCELED: 125,
} as const
export type ErrnoName = keyof typeof Errno
export type Errno = (typeof Errno)[ErrnoName]

const names = new Map<number, ErrnoName>(Object.entries(Errno).map(([name, number]) => [number, name as ErrnoName]))

/** `98` → `'EADDRINUSE'`; a number that has no name is spelled `'E98'`. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`
}

/** An error for the caller, in the form of Node's own: `code`, `errno` (negative, as libuv has it) and `syscall`. */
export class KernelError extends Error {
  override readonly name = 'KernelError'
  readonly code: string
  readonly errno: number
  readonly syscall: string | undefined

  constructor(errno: number, sentence: string, syscall?: string, options?: ErrorOptions) {
    super(sentence, options)
    this.code = errnoName(errno)
    this.errno = -errno
    this.syscall = syscall
  }
}
