// A TCP socket as programs on Linux have it, on the host's own: descriptors that are bound, listen, connect; calls that block, or give EAGAIN;
// errors that are told once; what is between a call and the stack, and no part of the stack.
import type { TcpListener, TcpSocket } from '../../src/stack.ts'
import type { Computer } from './computer.ts'
import { Connection } from './connection.ts'
import type { Content, Descriptor, OptionName, Place } from './descriptor.ts'
import { Unsupported } from './error.ts'
import { Flow } from './flow.ts'
import type { Flows } from './flows.ts'
import { type Attempt, after, caught, failure, SUCCESS, success } from './outcome.ts'
import type { Value } from './script.ts'
import type { Settings } from './setting.ts'
import { pattern, Seeds } from './stream.ts'
import {
  applyToConnection,
  creationOptions,
  optionKey,
  setCongestionControl,
  setTcpOption,
  type TcpSettings,
  tcpSettings,
} from './tcp-option.ts'

const MSG = { OOB: 1, DONTWAIT: 0x40, MORE: 0x8000 } as const
const SHUT = { RD: 0, WR: 1 } as const
const POLL = { IN: 1, OUT: 4, ERR: 8, HUP: 0x10, RDNORM: 0x40, WRNORM: 0x100, RDHUP: 0x2000 } as const
const CONGESTION_NAMES = ['cubic', 'reno'] as const

/** What the descriptors of a script share. */
export interface Surroundings {
  readonly computer: Computer
  readonly settings: Settings
  readonly flows: Flows
}

export class TcpDescriptor implements Descriptor {
  isNonblocking = false
  readonly #around: Surroundings
  readonly #settings: TcpSettings
  #bound: Place | undefined = undefined
  #listener: TcpListener | undefined = undefined
  readonly #arrived: Connection[] = []
  #connection: Connection | undefined = undefined

  constructor(around: Surroundings, connection?: Connection, settings?: TcpSettings) {
    this.#around = around
    this.#connection = connection
    this.#settings = settings === undefined ? tcpSettings(around.settings) : { ...settings }
  }

  bind(place: Place): Attempt {
    return () => {
      if (this.#bound !== undefined) return failure('EINVAL')
      const { localAddress } = this.#around.settings
      if (place.address !== '0.0.0.0' && place.address !== localAddress && !place.address.startsWith('127.')) {
        return failure('EADDRNOTAVAIL')
      }
      this.#bound = place
      return SUCCESS
    }
  }

  listen(backlog: number): Attempt {
    const { computer, flows } = this.#around
    const answers: (string | undefined)[] = []
    const begin = () => {
      const { address = '0.0.0.0', port = 0 } = this.#bound ?? {}
      const options = { ...creationOptions(this.#settings), address, port, backlog, shared: this.#settings.isShared }
      this.#listener = computer.stack.tcp.listen(options, (error) => answers.push(error?.code))
      this.#listener.onConnection = (socket) => this.#arrive(socket)
    }
    return after(begin, () => {
      if (answers.length === 0) return undefined
      if (answers[0] !== undefined) return failure(answers[0])
      flows.listen(this.#listener!.address, this.#listener!.port)
      return SUCCESS
    })
  }

  accept(): Attempt {
    return () => {
      if (this.#listener === undefined) return failure('EINVAL')
      const connection = this.#arrived.shift()
      if (connection === undefined) return this.isNonblocking ? failure('EAGAIN') : undefined
      const flow = this.#flowOf(connection.socket)
      if (flow !== undefined) this.#around.flows.use(flow)
      return { value: 0, descriptor: new TcpDescriptor(this.#around, connection, this.#settings) }
    }
  }

  connect(place: Place): Attempt {
    let isBegun = false
    return () =>
      caught(() => {
        const known = this.#connection
        if (known === undefined) this.#open(place)
        else if (!isBegun && !known.isConnected && !known.isBroken) return failure('EALREADY')
        else if (!isBegun && known.isTold) return failure('EISCONN')
        isBegun = true
        const connection = this.#connection!
        if (connection.isConnected) {
          connection.isTold = true
          return SUCCESS
        }
        if (connection.isBroken) return failure(connection.takeError() ?? 'ECONNABORTED')
        return this.isNonblocking ? failure('EINPROGRESS') : undefined
      })
  }

  send(content: Content, flags: number, target: Place | undefined): Attempt {
    let sent = 0
    let hasAsked = false
    let bytes: Uint8Array | undefined
    const isNonblocking = this.isNonblocking || (flags & MSG.DONTWAIT) !== 0
    return () => {
      const connection = this.#connection
      if (connection === undefined) return failure('EPIPE')
      if (target !== undefined) return failure('EISCONN')
      const error = connection.takeError()
      if (error !== undefined) return failure(error)
      if (connection.isSendShut || connection.isBroken) return sent > 0 ? success(sent) : failure('EPIPE')
      // What comes next is known only when it is its turn.
      bytes ??= typeof content === 'number' ? pattern(Seeds.toPeer, connection.written.length, content) : content
      // Without room a socket asks to be told of some, once is enough: it tells, and this is tried again.
      const isTried = hasAsked && connection.socket.sendRoom === 0
      if (connection.isConnected && !isTried) sent += this.#put(connection, bytes.subarray(sent), flags)
      hasAsked = connection.isConnected
      if (sent === bytes.length && connection.isConnected) return success(sent)
      if (isNonblocking) return sent > 0 ? success(sent) : failure('EAGAIN')
      return undefined
    }
  }

  receive(bytes: number, flags: number): Attempt {
    const isNonblocking = this.isNonblocking || (flags & MSG.DONTWAIT) !== 0
    return () => {
      const connection = this.#connection
      if (connection === undefined) return failure('ENOTCONN')
      if (connection.socket.readableBytes > 0 && bytes > 0) {
        const { count, isRight } = connection.read(bytes)
        return isRight
          ? success(count)
          : { value: count, mismatch: 'the bytes that were read are not those that were sent' }
      }
      const error = connection.takeError()
      if (error !== undefined) return failure(error)
      if (connection.socket.ended || connection.isReceiveShut || connection.isBroken || bytes === 0) return success(0)
      if (isNonblocking) return failure('EAGAIN')
      return undefined
    }
  }

  shutdown(how: number): Attempt {
    return () => {
      const connection = this.#connection
      if (connection === undefined || !connection.isConnected || connection.isBroken) return failure('ENOTCONN')
      if (how !== SHUT.WR) connection.isReceiveShut = true
      if (how !== SHUT.RD) {
        connection.isSendShut = true
        connection.socket.shutdown()
      }
      return SUCCESS
    }
  }

  close(): Attempt {
    let isDone = this.#listener === undefined
    const begin = () => {
      for (const connection of this.#arrived.splice(0)) connection.socket.abort()
      this.#listener?.close(() => {
        isDone = true
      })
      const { socket } = this.#connection ?? {}
      if (this.#settings.lingers) socket?.abort()
      else socket?.close()
    }
    return after(begin, () => (isDone ? SUCCESS : undefined))
  }

  release(): void {}

  setOption(option: OptionName, value: Value): Attempt {
    return () => {
      if (this.#listener !== undefined && optionKey(option) !== 'SOL_SOCKET SO_REUSEADDR') {
        throw new Unsupported(
          option.line,
          `setsockopt ${option.name} of a socket that listens already is not supported`,
        )
      }
      setTcpOption(this.#settings, this.#connection, option, value)
      return SUCCESS
    }
  }

  option(option: OptionName): number | string {
    switch (optionKey(option)) {
      case 'SOL_SOCKET SO_ERROR':
        return this.#connection?.takeErrno() ?? 0
      case 'SOL_SOCKET SO_TYPE':
        return 1
      case 'SOL_SOCKET SO_ACCEPTCONN':
        return this.#listener === undefined ? 0 : 1
      case 'SOL_TCP TCP_MAXSEG':
        if (this.#connection !== undefined) return this.#connection.pcb.mss
        break
      case 'SOL_TCP TCP_CONGESTION':
        if (this.#connection !== undefined) return CONGESTION_NAMES[this.#connection.pcb.congestionControl]!
        break
    }
    throw new Unsupported(option.line, `getsockopt ${option.name} is not supported`)
  }

  readableBytes(): number {
    return this.#connection?.socket.readableBytes ?? 0
  }

  unsentBytes(): number {
    const { pcb } = this.#connection ?? {}
    return pcb === undefined ? 0 : (pcb.sndEnd - pcb.sndUna) | 0
  }

  get events(): number {
    if (this.#listener !== undefined) return this.#arrived.length > 0 ? POLL.IN | POLL.RDNORM : 0
    const connection = this.#connection
    if (connection === undefined) return POLL.OUT | POLL.WRNORM | POLL.HUP
    const { socket, hasEnded, isBroken, isReceiveShut, isSendShut, isConnected } = connection
    const isOver = hasEnded || isReceiveShut || isBroken
    let events = 0
    if (socket.readableBytes > 0 || isOver) events |= POLL.IN | POLL.RDNORM
    if (isOver) events |= POLL.RDHUP
    if ((isConnected && socket.sendRoom > 0) || isSendShut || isBroken) events |= POLL.OUT | POLL.WRNORM
    if (isBroken || (isOver && isSendShut)) events |= POLL.HUP
    if (connection.hasError) events |= POLL.ERR
    return events
  }

  #put(connection: Connection, bytes: Uint8Array, flags: number): number {
    const { socket } = connection
    const { cork } = this.#settings
    if (!cork) socket.setCork((flags & MSG.MORE) !== 0)
    if ((flags & MSG.OOB) === 0) return connection.write(bytes)
    const sent = socket.sendUrgent(bytes)
    connection.written.add(bytes.subarray(0, sent))
    return sent
  }

  #arrive(socket: TcpSocket): void {
    const connection = new Connection(this.#around.computer, socket, true)
    connection.isTold = true
    const flow = this.#flowOf(socket)
    if (flow !== undefined) connection.attach(flow)
    applyToConnection(this.#settings, connection)
    this.#arrived.push(connection)
  }

  #open({ address, port }: Place): void {
    const { computer, flows } = this.#around
    const bound = this.#bound
    const socket = computer.stack.tcp.connect({
      ...creationOptions(this.#settings),
      ...{ address, port },
      ...(bound === undefined ? {} : { localAddress: bound.address, localPort: bound.port }),
    })
    const connection = new Connection(computer, socket, false)
    this.#connection = connection
    const { localAddress, localPort } = socket
    const flow = new Flow({ protocol: 'tcp', localAddress, remoteAddress: address, localPort, remotePort: port })
    connection.attach(flow)
    flows.use(flow)
    applyToConnection(this.#settings, connection)
    const { onConnect } = socket
    socket.onConnect = (errno) => {
      onConnect(errno)
      if (errno === 0) setCongestionControl(this.#settings, connection)
    }
  }

  #flowOf({ localAddress, remoteAddress, localPort, remotePort }: TcpSocket): Flow | undefined {
    return this.#around.flows.find({ localAddress, remoteAddress, localPort, remotePort })
  }
}
