// A UDP socket as programs on Linux have it. It is opened by the first call that needs its port: bind, connect or sendto.
import { errnoName } from '../../src/base/errno.ts'
import { type Endpoint, endpoint } from '../../src/net/endpoint.ts'
import type { UdpSocket, UdpSocketOptions } from '../../src/stack.ts'
import { Constants, numberOf } from './constant.ts'
import type { Content, Descriptor, OptionName, Place } from './descriptor.ts'
import { Unsupported } from './error.ts'
import { Flow } from './flow.ts'
import { type Attempt, caught, failure, type Outcome, SUCCESS, success } from './outcome.ts'
import type { Value } from './script.ts'
import { pattern, Seeds } from './stream.ts'
import type { Surroundings } from './tcp-descriptor.ts'
import { optionKey } from './tcp-option.ts'

const MSG_DONTWAIT = Constants.MSG_DONTWAIT!
const POLL = { IN: 1, OUT: 4, ERR: 8, RDNORM: 0x40, WRNORM: 0x100 } as const

export class UdpDescriptor implements Descriptor {
  isNonblocking = false
  readonly #around: Surroundings
  readonly #options: { ttl?: number; broadcast?: boolean; shared?: boolean; receiveBytes?: number } = {}
  #socket: UdpSocket | undefined = undefined
  /** What `open` has answered. */
  #answer: { readonly errno: string | undefined } | undefined = undefined
  #remote: Endpoint | undefined = undefined
  #flow: Flow | undefined = undefined
  #errno = 0

  constructor(around: Surroundings) {
    this.#around = around
  }

  bind(place: Place): Attempt {
    return () => this.#open(place)
  }

  listen(): Attempt {
    return () => failure('EOPNOTSUPP')
  }

  accept(): Attempt {
    return () => failure('EOPNOTSUPP')
  }

  connect(place: Place): Attempt {
    let isBegun = false
    let isDone = false
    return () => {
      const opened = this.#open({ address: '0.0.0.0', port: 0 })
      if (opened === undefined || opened.value < 0) return opened
      if (!isBegun) {
        isBegun = true
        const { remoteAddress, remotePort } = { remoteAddress: place.address, remotePort: place.port }
        this.#remote?.free()
        this.#remote = endpoint(this.#around.computer.stack.context.cpu, remoteAddress, remotePort)
        this.#talkTo(place)
        this.#socket!.connect(this.#remote, () => {
          isDone = true
        })
      }
      return isDone ? SUCCESS : undefined
    }
  }

  send(content: Content, _flags: number, target: Place | undefined): Attempt {
    return () => {
      const opened = this.#open({ address: '0.0.0.0', port: 0 })
      if (opened === undefined || opened.value < 0) return opened
      if (this.#errno !== 0) return failure(errnoName(this.#takeErrno()))
      if (target === undefined && this.#remote === undefined) return failure('EDESTADDRREQ')
      if (target !== undefined) this.#talkTo(target)
      const bytes = typeof content === 'number' ? pattern(Seeds.toPeer, 0, content) : content
      const to =
        target === undefined
          ? undefined
          : endpoint(this.#around.computer.stack.context.cpu, target.address, target.port)
      const errno = this.#socket!.sendBytes(bytes, to)
      to?.free()
      if (errno === 0) this.#flow?.datagrams.push(bytes)
      return errno === 0 ? success(bytes.length) : failure(errnoName(errno))
    }
  }

  receive(bytes: number, flags: number): Attempt {
    return () => {
      if (this.#errno !== 0) return failure(errnoName(this.#takeErrno()))
      const packet = this.#socket?.receive() ?? 0
      if (packet === 0) return this.isNonblocking || (flags & MSG_DONTWAIT) !== 0 ? failure('EAGAIN') : undefined
      const { mbufs } = this.#around.computer.stack.context
      const payload = mbufs.bytes(packet)
      mbufs.free(packet)
      const isRight = Buffer.compare(payload, pattern(Seeds.fromPeer, 0, payload.length)) === 0
      const value = Math.min(bytes, payload.length)
      return isRight ? success(value) : { value, mismatch: 'the datagram that was read is not the one that was sent' }
    }
  }

  shutdown(): Attempt {
    return () => failure('ENOTCONN')
  }

  close(): Attempt {
    let isDone = this.#socket === undefined
    let isBegun = false
    return () => {
      if (!isBegun) {
        isBegun = true
        this.#socket?.close(() => {
          isDone = true
        })
      }
      if (!isDone) return undefined
      this.release()
      return SUCCESS
    }
  }

  release(): void {
    this.#remote?.free()
    this.#remote = undefined
  }

  setOption(option: OptionName, value: Value): Attempt {
    return () => {
      const key = optionKey(option)
      const number = numberOf(value.kind === 'list' ? value.items[0] : value, option.line, option.name)
      if (this.#socket !== undefined) {
        throw new Unsupported(
          option.line,
          `setsockopt ${option.name} of a UDP socket that has its port is not supported`,
        )
      }
      if (key === 'SOL_SOCKET SO_BROADCAST') this.#options.broadcast = number !== 0
      else if (key === 'SOL_SOCKET SO_REUSEADDR' || key === 'SOL_SOCKET SO_REUSEPORT')
        this.#options.shared = number !== 0
      else if (key === 'SOL_SOCKET SO_RCVBUF') this.#options.receiveBytes = number
      else if (key === 'SOL_IP IP_TTL') this.#options.ttl = number
      else throw new Unsupported(option.line, `setsockopt ${option.name} of a UDP socket is not supported`)
      return SUCCESS
    }
  }

  option(option: OptionName): number | string {
    const key = optionKey(option)
    if (key === 'SOL_SOCKET SO_ERROR') return this.#takeErrno()
    if (key === 'SOL_SOCKET SO_TYPE') return 2
    throw new Unsupported(option.line, `getsockopt ${option.name} of a UDP socket is not supported`)
  }

  readableBytes(line: number): number {
    throw new Unsupported(line, 'how much there is to read of a UDP socket is not supported')
  }

  unsentBytes(line: number): number {
    throw new Unsupported(line, 'how much is unsent of a UDP socket is not supported')
  }

  get events(): number {
    let events: number = POLL.OUT | POLL.WRNORM
    if ((this.#socket?.length ?? 0) > 0 || this.#errno !== 0) events |= POLL.IN | POLL.RDNORM
    if (this.#errno !== 0) events |= POLL.ERR
    return events
  }

  #open({ address, port }: Place): Outcome | undefined {
    const { computer } = this.#around
    if (this.#socket === undefined) {
      const options: UdpSocketOptions = {
        ...this.#options,
        ...{ address, port },
        onError: (_, errno) => {
          this.#errno = errno
        },
      }
      const refused = caught(() => {
        this.#socket = computer.stack.udp.open(options, (error) => {
          this.#answer = { errno: error?.code }
        })
        return undefined
      })
      if (refused !== undefined) return refused
    }
    if (this.#answer === undefined) return undefined
    const { errno } = this.#answer
    if (errno !== undefined) {
      this.#socket = undefined
      this.#answer = undefined
      return failure(errno)
    }
    if (this.#flow === undefined) {
      const { remoteAddress, connectPort } = this.#around.settings
      this.#talkTo({ address: remoteAddress, port: connectPort })
    }
    return SUCCESS
  }

  /** The script's packets are between this socket and there. */
  #talkTo({ address, port }: Place): void {
    const { flows, settings } = this.#around
    const ends = { localAddress: settings.localAddress, remoteAddress: address, remotePort: port }
    const localPort = this.#socket!.port
    const known = flows.find({ ...ends, localPort })
    this.#flow = known ?? new Flow({ protocol: 'udp', ...ends, localPort })
    flows.use(this.#flow)
  }

  #takeErrno(): number {
    const errno = this.#errno
    this.#errno = 0
    return errno
  }
}
