// What dgram takes for its UDP class (`process.binding('udp_wrap').UDP`), over a socket of ours. Results are libuv's error
// numbers. Read first: loop.ts, and Node's lib/dgram.js, which is the caller.
import { AsyncResource } from 'node:async_hooks'
import type { KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import type { MbufCursor } from '../device/mbuf.ts'
import { Family, formatAddress, isUnspecified, parseAddress } from '../net/address.ts'
import type { Endpoint } from '../net/endpoint.ts'
import type { UdpSocket, UdpSocketOptions } from '../socket/udp.ts'
import { binding, type Request, Uv, uvError, uvName } from './binding.ts'
import type { HandleHost } from './handle-host.ts'
import type { Deliverable, NodeLoop, Open } from './loop.ts'
import { ANY, inetAddress, LOOPBACK, mappedAddress, numberOf, type SocketAddress, tell } from './sockaddr.ts'

/** Packets of one handle before the others have their turn, as libuv counts them. */
const PACKETS_MAX = 32
/** Linux's least, and the most that it lets anybody have. */
const BUFFER_BYTES_MIN = 2304
const BUFFER_BYTES_MAX = 8 * 1024 * 1024
const INT_MAX = 2 ** 31 - 1

/** Of `bind`: dgram's `reuseAddr` and `reusePort`, the latter since Node 23. */
const { UV_UDP_REUSEADDR = 0, UV_UDP_REUSEPORT = 0 } = binding('udp_wrap').constants
const SHARED_FLAGS = UV_UDP_REUSEADDR | UV_UDP_REUSEPORT

/** What a socket may be told later on; it looks at them at each packet. */
type Options = { -readonly [Key in keyof UdpSocketOptions]: UdpSocketOptions[Key] }

type OnMessage = (bytes: number, handle: unknown, buffer: Buffer | undefined, from: unknown) => void

export class UdpHandle implements Deliverable, Open {
  queued = false
  trace = 0
  /** Set by dgram. */
  onmessage: OnMessage | undefined = undefined
  readonly #host: HandleHost
  readonly #loop: NodeLoop
  readonly #scope = new AsyncResource('UDPWRAP', { requireManualDestroy: true })
  readonly #options: Options
  readonly #m: MbufCursor
  #socket: UdpSocket | undefined = undefined
  /** Where the last packet went, and how its address was spelled. */
  #target: Target | undefined = undefined
  /** Where all packets go. */
  #remote: Target | undefined = undefined
  #isReceiving = false
  /** libuv's number of an error that is still to be told. */
  #error = 0
  #isClosing = false
  #isClosed = false
  #onclose: (() => void) | undefined = undefined
  #isReferenced = true
  #isHolding = false
  #sendBytes = BUFFER_BYTES_MAX
  /** The source of the last packet, and its spelling. */
  #source = 0
  #sourceText = ''

  constructor(host: HandleHost) {
    this.#host = host
    this.#loop = host.loop
    this.#m = host.context.mbuf()
    this.#options = {
      perCpu: host.perCpu,
      onReadable: () => this.#loop.queue(this),
      onError: (_socket, errno) => {
        this.#error = uvError(errno)
        this.#loop.queue(this)
      },
    }
    host.opened(this)
  }

  /** There is no descriptor. */
  get fd(): number {
    return Uv.EBADF
  }

  getAsyncId(): number {
    return this.#scope.asyncId()
  }

  getProviderType(): number {
    return 0
  }

  asyncReset(_resource: object): void {}

  // Addresses.

  bind(address: string, port: number, flags = 0): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#socket !== undefined) return Uv.EINVAL
    const own = inetAddress(address)
    this.#options.shared = (flags & SHARED_FLAGS) !== 0
    return own === undefined ? Uv.EINVAL : this.#bind(own, Number(port) || 0)
  }

  bind6(address: string, port: number, flags?: number): number {
    const mapped = mappedAddress(address)
    return mapped === undefined ? Uv.EAFNOSUPPORT : this.bind(mapped, port, flags)
  }

  #bind(address: string, port: number): number {
    let error: KernelError | undefined
    let answered = false
    let socket: UdpSocket
    this.#loop.enter()
    this.#options.address = address
    this.#options.port = port
    try {
      socket = this.#host.udp.open(this.#options, (failure) => {
        answered = true
        error = failure
      })
    } catch (failure) {
      return numberOf(failure)
    }
    if (!this.#loop.wait(() => answered)) {
      socket.close()
      return Uv.ETIMEDOUT
    }
    if (error !== undefined) return uvError(-error.errno)
    this.#socket = socket
    return 0
  }

  /** libuv binds a socket that has to have an address now. */
  #bound(): number {
    if (this.#isClosing) return Uv.EBADF
    return this.#socket === undefined ? this.#bind(ANY, 0) : 0
  }

  getsockname(out: SocketAddress): number {
    const socket = this.#socket
    if (socket === undefined) return Uv.EBADF
    const { u8 } = this.#host.context
    let { address } = socket.local
    // A connected socket has the address of its way.
    if (this.#remote !== undefined && isUnspecified(u8, Family.inet, address)) {
      address = this.#host.udp.sourceFor(socket.local, this.#remote.address) || address
    }
    return tell(out, formatAddress(Family.inet, u8, address), socket.port)
  }

  connect(address: string, port: number): number {
    const refusal = this.#bound()
    if (refusal !== 0) return refusal
    const spelled = inetAddress(address)
    if (spelled === undefined) return Uv.EINVAL
    const target = new Target(this.#host)
    target.set(spelled, port)
    this.#loop.enter()
    // When all CPUs know, as a system call would.
    let known = false
    this.#socket!.connect(target, () => {
      known = true
    })
    this.#loop.wait(() => known)
    this.#remote?.free()
    this.#remote = target
    return 0
  }

  connect6(address: string, port: number): number {
    const mapped = mappedAddress(address)
    return mapped === undefined ? Uv.EAFNOSUPPORT : this.connect(mapped, port)
  }

  disconnect(): number {
    if (this.#socket === undefined) return Uv.EBADF
    if (this.#remote === undefined) return Uv.ENOTCONN
    this.#loop.enter()
    let known = false
    this.#socket.disconnect(() => {
      known = true
    })
    this.#loop.wait(() => known)
    this.#remote.free()
    this.#remote = undefined
    return 0
  }

  getpeername(out: SocketAddress): number {
    if (this.#socket === undefined) return Uv.EBADF
    if (this.#remote === undefined) return Uv.ENOTCONN
    return tell(out, this.#remote.text, this.#remote.port)
  }

  /** Descriptors are the kernel's. */
  open(_descriptor: number): number {
    return Uv.ENOTSUP
  }

  // Sending.

  /** As `(request, list, count, port, address, hasCallback)`; to where it is connected, `(request, list, count, hasCallback)`. */
  send(_request: Request, list: readonly ArrayBufferView[], _count: number, port?: unknown, address?: string): number {
    const refusal = this.#bound()
    if (refusal !== 0) return refusal
    const bytes = list.length === 1 ? bytesOf(list[0]!) : Buffer.concat(list.map(bytesOf))
    this.#loop.enter()
    const to = typeof port === 'number' ? this.#towards(address!, port) : this.#remote
    if (to === undefined) return typeof port === 'number' ? Uv.EINVAL : Uv.EDESTADDRREQ
    if (typeof port === 'number' && this.#remote !== undefined) return Uv.EISCONN
    const errno = this.#socket!.sendBytes(bytes, to)
    // It is on its way, or lost: the number that says so at once is one more than the bytes.
    return errno === 0 ? bytes.byteLength + 1 : uvError(errno)
  }

  send6(request: Request, list: readonly ArrayBufferView[], count: number, port?: unknown, address?: string): number {
    if (typeof port !== 'number') return this.send(request, list, count, port)
    const mapped = mappedAddress(address!)
    return mapped === undefined ? Uv.EAFNOSUPPORT : this.send(request, list, count, port, mapped)
  }

  #towards(address: string, port: number): Target | undefined {
    this.#target ??= new Target(this.#host)
    const target = this.#target
    if (target.spelled !== address) {
      const spelled = inetAddress(address)
      if (spelled === undefined) return undefined
      target.set(spelled, port)
      target.spelled = address
    }
    target.port = port
    return target
  }

  /** Nothing ever waits: what is sent is on its way or refused. */
  getSendQueueSize(): number {
    return 0
  }

  getSendQueueCount(): number {
    return 0
  }

  // Receiving.

  recvStart(): number {
    const refusal = this.#bound()
    if (refusal !== 0) return refusal
    this.#isReceiving = true
    this.#update()
    this.#loop.queue(this)
    return 0
  }

  recvStop(): number {
    this.#isReceiving = false
    this.#update()
    return 0
  }

  #receive(socket: UdpSocket): void {
    for (let packets = 0; this.#isReceiving && !this.#isClosing; packets++) {
      if (packets === PACKETS_MAX) return this.#loop.queue(this)
      const packet = socket.receive()
      if (packet === 0) return
      const m = this.#m
      m.at = packet
      const from = { address: this.#sourceOf(m.source), family: 'IPv4', port: m.sourcePort }
      const buffer = this.#take(packet)
      this.#tell(buffer.length, buffer, from)
    }
  }

  /** The packet's bytes, copied once, out of the machine's memory; it is freed. */
  #take(packet: Address): Buffer {
    const { memory, mbufs } = this.#host.context
    const m = this.#m
    const { slab } = this.#loop
    const room = slab.room(m.total)
    let filled = 0
    for (let part = packet; part !== 0; part = m.part) {
      m.at = part
      memory.transfer.toProgram(m.data, m.length, room, filled)
      filled += m.length
    }
    slab.keep(room, filled)
    mbufs.free(packet)
    return room
  }

  #sourceOf(source: Address): string {
    const word = this.#host.context.view.getInt32(source)
    if (word !== this.#source || this.#sourceText === '') {
      this.#source = word
      this.#sourceText = formatAddress(Family.inet, this.#host.context.u8, source)
    }
    return this.#sourceText
  }

  #tell(bytes: number, buffer: Buffer | undefined, from: SocketAddress | undefined): void {
    const { onmessage } = this
    if (onmessage !== undefined) this.#loop.call(this.#scope, onmessage, this, bytes, this, buffer, from)
  }

  // Options: of a socket that has an address.

  setTTL(ttl: number): number {
    if (this.#socket === undefined) return Uv.EBADF
    if (!(ttl >= 1 && ttl <= 255)) return Uv.EINVAL
    this.#options.ttl = ttl
    return 0
  }

  setBroadcast(on: number): number {
    if (this.#socket === undefined) return Uv.EBADF
    this.#options.broadcast = on !== 0
    return 0
  }

  setMulticastTTL(ttl: number): number {
    if (this.#socket === undefined) return Uv.EBADF
    if (!(ttl >= 0 && ttl <= 255)) return Uv.EINVAL
    this.#options.multicastTtl = ttl
    return 0
  }

  setMulticastLoopback(on: number): number {
    if (this.#socket === undefined) return Uv.EBADF
    this.#options.multicastLoop = on !== 0
    return 0
  }

  /** 0.0.0.0: as routes say. */
  setMulticastInterface(address: string): number {
    if (this.#socket === undefined) return Uv.EBADF
    const own = inetAddress(address)
    if (own === undefined) return Uv.EINVAL
    try {
      this.#socket.setMulticastInterface(own)
      return 0
    } catch (failure) {
      return numberOf(failure)
    }
  }

  addMembership(group: string, own?: string): number {
    return this.#membership('join', group, own)
  }

  dropMembership(group: string, own?: string): number {
    return this.#membership('leave', group, own)
  }

  addSourceSpecificMembership(source: string, group: string, own?: string): number {
    return this.#membership('join', group, own, source)
  }

  dropSourceSpecificMembership(source: string, group: string, own?: string): number {
    return this.#membership('leave', group, own, source)
  }

  /** Joins or leaves, and waits until all CPUs know, as a system call would. */
  #membership(change: 'join' | 'leave', group: string, own?: string, source?: string): number {
    const refusal = this.#bound()
    if (refusal !== 0) return refusal
    const spelled = inetAddress(group)
    const from = own === undefined || own === '' ? ANY : inetAddress(own)
    const only = source === undefined ? undefined : inetAddress(source)
    if (spelled === undefined || from === undefined || (source !== undefined && only === undefined)) return Uv.EINVAL
    const membership = { group: spelled, interface: from, ...(only !== undefined && { source: only }) }
    let known = false
    let error: KernelError | undefined
    this.#loop.enter()
    try {
      this.#socket![change](membership, (failure) => {
        known = true
        error = failure
      })
    } catch (failure) {
      return numberOf(failure)
    }
    this.#loop.wait(() => known)
    return error === undefined ? 0 : uvError(-error.errno)
  }

  /** 0 asks. As on Linux twice the bytes that were set, for what packets need besides their data. */
  bufferSize(size: number, isReceive: boolean, context: Record<string, unknown>): number | undefined {
    const socket = this.#socket
    const isTooLarge = size > INT_MAX
    if (socket === undefined || isTooLarge) {
      const errno = isTooLarge ? Uv.EINVAL : Uv.EBADF
      const message = isTooLarge ? 'invalid argument' : 'bad file descriptor'
      const syscall = isReceive ? 'uv_recv_buffer_size' : 'uv_send_buffer_size'
      Object.assign(context, { errno, code: uvName(errno), message, syscall })
      return undefined
    }
    if (size !== 0) {
      const bytes = Math.min(BUFFER_BYTES_MAX, Math.max(BUFFER_BYTES_MIN, size * 2))
      if (isReceive) socket.receiveBytes = bytes
      else this.#sendBytes = bytes
    }
    return isReceive ? socket.receiveBytes : this.#sendBytes
  }

  // The process, and the end.

  ref(): void {
    this.#isReferenced = true
    this.#update()
  }

  unref(): void {
    this.#isReferenced = false
    this.#update()
  }

  hasRef(): boolean {
    return this.#isReferenced && !this.#isClosed
  }

  #update(): void {
    const holds = !this.#isClosed && (this.#isClosing || (this.#isReferenced && this.#isReceiving))
    if (holds === this.#isHolding) return
    this.#isHolding = holds
    if (holds) this.#loop.hold()
    else this.#loop.release()
  }

  close(onclose?: () => void): void {
    if (this.#isClosing) return
    this.#onclose = onclose
    this.#loop.enter()
    this.abandon()
    this.#loop.queue(this)
    this.#update()
  }

  abandon(): void {
    this.#isClosing = true
    this.#socket?.close()
  }

  deliver(): void {
    if (this.#isClosed) return
    let isTold = false
    try {
      if (this.#isClosing) this.#tellClosed()
      else this.#deliver()
      isTold = true
    } finally {
      // The program has thrown: the rest is told the next time.
      if (!isTold && !this.#isClosed) this.#loop.queue(this)
    }
  }

  #deliver(): void {
    const socket = this.#socket
    if (socket === undefined || !this.#isReceiving) return
    if (this.#error !== 0) {
      const error = this.#error
      this.#error = 0
      this.#tell(error, undefined, undefined)
    }
    this.#receive(socket)
  }

  #tellClosed(): void {
    // Without memory for the message that frees its port on the other CPUs, it is tried again.
    if (this.#socket?.close() === false) return this.#loop.queue(this)
    this.#target?.free()
    this.#remote?.free()
    this.#isClosed = true
    this.#host.closed(this)
    this.#update()
    const onclose = this.#onclose
    if (typeof onclose === 'function') this.#loop.call(this.#scope, onclose, this)
    this.#scope.emitDestroy()
  }
}

/** dgram lets arrays of other numbers pass: what counts are their bytes. */
function bytesOf(view: ArrayBufferView): Uint8Array {
  return view instanceof Uint8Array ? view : new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

/** Where packets go: its bytes stay where they are, and are written anew for another address. */
class Target implements Endpoint {
  readonly family = Family.inet
  readonly address: Address
  port = 0
  text = ''
  /** As the program has spelled it. */
  spelled = ''
  readonly #host: HandleHost
  readonly #room: Address

  constructor(host: HandleHost) {
    this.#host = host
    this.#room = host.context.cpu.slab.allocate(64)
    this.address = this.#room + 16
  }

  /** @param text an address that is known to be one; 0.0.0.0 is this host, as on Linux */
  set(text: string, port: number): void {
    this.text = text === ANY ? LOOPBACK : text
    this.port = port
    this.#host.context.u8.set(parseAddress(this.text).bytes, this.address)
  }

  free(): void {
    this.#host.context.cpu.slab.free(this.#room)
  }
}

Object.setPrototypeOf(UdpHandle.prototype, binding('udp_wrap').UDP.prototype)
