// UNIX-domain sockets of Linux (unix(7)) by system calls, with one descriptor at most beside the bytes (SCM_RIGHTS, cmsg(3)), and the
// sealed memory files that such descriptors are of (memfd_create(2), fcntl(2) on F_ADD_SEALS). What `node:net` does not offer: libuv
// reads by read(2), and the kernel then closes the descriptors that came.
//
// A call answers as in library.ts: 0 or more, or the errno, negative. All records lie in one piece of memory that is written anew for
// each call, so that a call allocates nothing: one object for each thread.
//
//     0 msghdr   {u64 name, u32 nameBytes, u64 vectors, u64 vectorCount, u64 control, u64 controlBytes, i32 flags}
//    56 iovec    {u64 pointer, u64 bytes}
//    72 cmsghdr  {u64 bytes, i32 level, i32 type}, i32 descriptor
//    96 sockaddr_un {u16 family, 108 bytes of path}
//   256 statx    256 bytes, the same on every processor, as struct stat is not
import { Errno } from '../../base/errno.ts'
import { type Libc, libc, type Pointer, type Purpose } from './library.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SHUT_RD = 0
const SHUT_WR = 1
const SO_SNDBUF = 7
const SO_PEERCRED = 17
const TIOCOUTQ = 0x5411

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CTRUNC = 0x8
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000

const MFD_CLOEXEC = 0x1
const MFD_ALLOW_SEALING = 0x2
const MFD_NOEXEC_SEAL = 0x8
const F_ADD_SEALS = 1033
const F_GET_SEALS = 1034
/** F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_WRITE: neither its size nor a byte of it can change any more. */
const SEALS = 0x1 | 0x2 | 0x4 | 0x8

const AT_EMPTY_PATH = 0x1000
/** STATX_TYPE, STATX_INO, STATX_SIZE and STATX_BLOCKS. */
const STATX_WANTED = 0x1 | 0x100 | 0x200 | 0x400
const BLOCK_BYTES = 512
const S_IFMT = 0o170000
const S_IFREG = 0o100000

/** Longest path: that of sockaddr_un, which needs no 0 behind it. */
export const PATH_BYTES_MAX = 108
/**
 * A fourth of the smallest send buffer that Linux has (SOCK_MIN_SNDBUF), below which a socket is writable. The smallest message takes 768,
 * so that it is one at most.
 */
const ONE_MESSAGE_BYTES = 1152

/** No descriptor. */
export const NONE = -1

const At = { message: 0, vector: 56, control: 72, address: 96, status: 256, name: 512 } as const
const MEMORY_BYTES = 528
/** cmsghdr and one descriptor. Not CMSG_SPACE, whose padding has room for a second one. */
const CONTROL_BYTES = 20
const PATH_AT = At.address + 2
const HIGH = 0x1_0000_0000

const PURPOSE: Purpose = { what: 'UNIX-domain sockets with traces', instead: 'use node:net, which has them without' }

/** What is known of a descriptor's file. */
export interface FileStatus {
  isRegular: boolean
  bytes: number
  /** What it occupies, which may be more or less. */
  allocatedBytes: number
  /** The file's number. */
  inode: number
}

export class UnixCalls {
  /** Of the last `receive`: the descriptor that came, now the caller's to close, or `NONE`. */
  received: number = NONE
  /** Of the last `receive`: there were descriptors that the kernel has closed, for want of room or of free numbers. */
  isTruncated = false
  readonly #system: Libc
  readonly #bytes = new Uint8Array(new ArrayBuffer(MEMORY_BYTES))
  readonly #view = new DataView(this.#bytes.buffer)
  readonly #words = new Uint32Array(this.#bytes.buffer)
  readonly #base: Pointer
  readonly #status: FileStatus = { isRegular: false, bytes: 0, allocatedBytes: 0, inode: 0 }
  readonly #calls: ReturnType<typeof declare>

  /** @throws KernelError EOPNOTSUPP where this is not Linux, ENODEV where koffi cannot be loaded */
  constructor(system: Libc = libc(PURPOSE)) {
    this.#system = system
    this.#calls = declare(system)
    this.#base = system.pointer(this.#bytes)
    this.#setPointer(At.message + 16, this.#base + At.vector)
    this.#setPointer(At.message + 24, 1)
    this.#view.setInt32(At.control + 8, SOL_SOCKET, true)
    this.#view.setInt32(At.control + 12, SCM_RIGHTS, true)
    this.#bytes.set(new TextEncoder().encode('trace'), At.name)
  }

  /** Where `bytes` lies; see Libc. */
  pointer(bytes: Uint8Array): Pointer {
    return this.#system.pointer(bytes)
  }

  /** A stream socket that never blocks and is not inherited. */
  socket(): number {
    return this.#system.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
  }

  /** -EINVAL for a path that cannot be one. */
  connect(descriptor: number, path: string): number {
    const bytes = this.#setAddress(path)
    return bytes < 0 ? bytes : this.#calls.connect(descriptor, this.#base + At.address, bytes)
  }

  bind(descriptor: number, path: string): number {
    const bytes = this.#setAddress(path)
    return bytes < 0 ? bytes : this.#calls.bind(descriptor, this.#base + At.address, bytes)
  }

  listen(descriptor: number, backlog: number): number {
    return this.#calls.listen(descriptor, backlog)
  }

  /** The next connection, or -EAGAIN. */
  accept(descriptor: number): number {
    return this.#calls.accept4(descriptor, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)
  }

  /** Ends the sending direction. */
  shutdown(descriptor: number): number {
    return this.#calls.shutdown(descriptor, SHUT_WR)
  }

  /** Ends the receiving direction: the peer cannot send any more. */
  shutdownReading(descriptor: number): number {
    return this.#calls.shutdown(descriptor, SHUT_RD)
  }

  /** Whether the peer has read all that was sent, but for one message at most. Also where it is gone. */
  isRead(descriptor: number): boolean {
    const result = this.#system.ioctl(descriptor, TIOCOUTQ, this.#base + At.status)
    return result < 0 || this.#words[At.status >> 2]! <= ONE_MESSAGE_BYTES
  }

  /** Whether the other end belongs, or has belonged, to this process. */
  isPeerHere(descriptor: number): boolean {
    const at = At.status >> 2
    // struct ucred {i32 pid, u32 uid, u32 gid}, and its length behind it.
    this.#words[at + 3] = 12
    const result = this.#calls.getsockopt(
      descriptor,
      SOL_SOCKET,
      SO_PEERCRED,
      this.#base + At.status,
      this.#base + At.status + 12,
    )
    return result === 0 && this.#words[at] === process.pid
  }

  /** From now on the socket is writable when `isRead`, and no sooner. Nothing more can be sent. */
  awaitRead(descriptor: number): void {
    this.#words[At.status >> 2] = 1
    this.#calls.setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, this.#base + At.status, 4)
  }

  close(descriptor: number): number {
    return this.#system.close(descriptor)
  }

  /** For a descriptor of an unknown file, whose close(2) may block (FUSE, NFS, SO_LINGER). */
  closeElsewhere(descriptor: number, done: () => void): void {
    this.#system.closeElsewhere(descriptor, done)
  }

  /** Sends what there is room for: at least one byte, or -EAGAIN. `extra` goes beside the first of them, where it is not `NONE`. */
  send(descriptor: number, pointer: Pointer, bytes: number, extra: number): number {
    this.#setPointer(At.vector, pointer)
    this.#setPointer(At.vector + 8, bytes)
    this.#setControl(extra !== NONE)
    if (extra !== NONE) this.#view.setInt32(At.control + 16, extra, true)
    return this.#calls.sendmsg(descriptor, this.#base + At.message, MSG_DONTWAIT | MSG_NOSIGNAL)
  }

  /**
   * Receives up to `bytes` to `pointer`; 0 at the end. A descriptor that came with them is in `received` afterwards. Of several the
   * kernel lets in one; and none without `takesDescriptor`. Bytes behind those that had descriptors are for the next call.
   */
  receive(descriptor: number, pointer: Pointer, bytes: number, takesDescriptor: boolean): number {
    this.#setPointer(At.vector, pointer)
    this.#setPointer(At.vector + 8, bytes)
    this.#setControl(takesDescriptor)
    const result = this.#calls.recvmsg(descriptor, this.#base + At.message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
    if (result < 0) {
      this.received = NONE
      this.isTruncated = false
      return result
    }
    this.isTruncated = (this.#words[(At.message + 48) >> 2]! & MSG_CTRUNC) !== 0
    // What the kernel has written of it: nothing where nothing came.
    const hasDescriptor = takesDescriptor && this.#words[(At.message + 40) >> 2]! >= CONTROL_BYTES
    this.received = hasDescriptor ? this.#view.getInt32(At.control + 16, true) : NONE
    return result
  }

  /** A file of these bytes, in memory and sealed: nobody can change it any more. */
  sealedFile(pointer: Pointer, bytes: number): number {
    const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING
    let descriptor = this.#calls.memfd_create(this.#base + At.name, flags | MFD_NOEXEC_SEAL)
    // Before Linux 6.3; since then there are systems that insist on it.
    if (descriptor === -Errno.EINVAL) descriptor = this.#calls.memfd_create(this.#base + At.name, flags)
    if (descriptor < 0) return descriptor
    const written = this.#system.write(descriptor, pointer, bytes)
    const sealed =
      written === bytes ? this.#system.fcntl(descriptor, F_ADD_SEALS, SEALS) : Math.min(written, -Errno.EIO)
    if (sealed >= 0) return descriptor
    this.close(descriptor)
    return sealed
  }

  /** Whether it is a file in memory that can no longer change. Asks no file system: never blocks, whatever the descriptor is. */
  isSealed(descriptor: number): boolean {
    const seals = this.#system.fcntl(descriptor, F_GET_SEALS, 0)
    return seals >= 0 && (seals & SEALS) === SEALS
  }

  /** Good until the next call; undefined where it cannot be told. */
  status(descriptor: number): FileStatus | undefined {
    const { statx } = this.#calls
    const status = this.#base + At.status
    if (statx(descriptor, this.#base + At.name + 8, AT_EMPTY_PATH, STATX_WANTED, status) < 0) return undefined
    this.#status.isRegular = (this.#view.getUint16(At.status + 28, true) & S_IFMT) === S_IFREG
    this.#status.inode = this.#getNumber(At.status + 32)
    this.#status.bytes = this.#getNumber(At.status + 40)
    this.#status.allocatedBytes = this.#getNumber(At.status + 48) * BLOCK_BYTES
    return this.#status
  }

  /** Reads from the file's beginning, whatever position the descriptor has. */
  read(descriptor: number, pointer: Pointer, bytes: number): number {
    return this.#calls.pread(descriptor, pointer, bytes, 0)
  }

  #setControl(isThere: boolean): void {
    this.#setPointer(At.message + 32, isThere ? this.#base + At.control : 0)
    this.#setPointer(At.message + 40, isThere ? CONTROL_BYTES : 0)
    // recvmsg has put its own length there.
    this.#words[At.control >> 2] = CONTROL_BYTES
  }

  /** The bytes of the address, as libuv has it: a name that begins with 0 is no path (abstract), and has its length as its end. */
  #setAddress(path: string): number {
    const name = new TextEncoder().encode(path)
    const isAbstract = name[0] === 0
    if (name.length === 0 || name.length > PATH_BYTES_MAX || (!isAbstract && name.includes(0))) return -Errno.EINVAL
    this.#bytes.fill(0, PATH_AT, PATH_AT + PATH_BYTES_MAX)
    this.#view.setUint16(At.address, AF_UNIX, true)
    this.#bytes.set(name, PATH_AT)
    return 2 + (isAbstract ? name.length : PATH_BYTES_MAX)
  }

  #setPointer(at: number, value: number): void {
    this.#words[at >> 2] = value
    this.#words[(at >> 2) + 1] = value / HIGH
  }

  #getNumber(at: number): number {
    return this.#words[at >> 2]! + this.#words[(at >> 2) + 1]! * HIGH
  }
}

function declare(system: Libc) {
  return {
    connect: system.declare('int connect(int, uintptr_t, unsigned int)'),
    bind: system.declare('int bind(int, uintptr_t, unsigned int)'),
    listen: system.declare('int listen(int, int)'),
    accept4: system.declare('int accept4(int, uintptr_t, uintptr_t, int)'),
    shutdown: system.declare('int shutdown(int, int)'),
    getsockopt: system.declare('int getsockopt(int, int, int, uintptr_t, uintptr_t)'),
    setsockopt: system.declare('int setsockopt(int, int, int, uintptr_t, unsigned int)'),
    sendmsg: system.declare('int64_t sendmsg(int, uintptr_t, int)'),
    recvmsg: system.declare('int64_t recvmsg(int, uintptr_t, int)'),
    memfd_create: system.declare('int memfd_create(uintptr_t, unsigned int)'),
    statx: system.declare('int statx(int, uintptr_t, int, unsigned int, uintptr_t)'),
    pread: system.declare('int64_t pread(int, uintptr_t, uint64_t, int64_t)'),
  }
}
