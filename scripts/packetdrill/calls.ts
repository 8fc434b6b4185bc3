// The functions that scripts call, and what their arguments mean. File descriptors have the numbers that the script gives them.
import { numberOf } from './constant.ts'
import type { Content, Descriptor, Place } from './descriptor.ts'
import { ScriptFailure, Unsupported } from './error.ts'
import { type Attempt, failure, type Outcome, SUCCESS, success } from './outcome.ts'
import type { Call, Value } from './script.ts'
import { lookUp } from './table.ts'
import { type Surroundings, TcpDescriptor } from './tcp-descriptor.ts'
import { UdpDescriptor } from './udp-descriptor.ts'

const SOCK = { STREAM: 1, DGRAM: 2, NONBLOCK: 0x800, TYPES: 0xf } as const
const IPPROTO = { ANY: 0, TCP: 6, UDP: 17 } as const
const O = { RDWR: 2, NONBLOCK: 0x800 } as const
/** MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE, MSG_OOB; and MSG_TRUNC of a datagram, which changes nothing that scripts see. */
const MSG_KNOWN = 0x40 | 0x4000 | 0x8000 | 1
const POLL_ALWAYS = 8 | 0x10
const ANY: Value = { kind: 'any' }

type Handler = (args: Arguments) => Attempt

/** The arguments of a call, one by one. */
class Arguments {
  readonly line: number
  readonly #call: Call

  constructor(call: Call, line: number) {
    this.#call = call
    this.line = line
  }

  get count(): number {
    return this.#call.args.length
  }

  at(index: number): Value {
    const value = this.#call.args[index]
    if (value !== undefined) return value
    throw new ScriptFailure(this.line, `${this.#call.name}() has ${this.count} arguments: more are expected`)
  }

  number(index: number): number {
    return numberOf(this.at(index), this.line, `argument ${index + 1} of ${this.#call.name}()`)
  }

  /** The name that stands there: `SOL_SOCKET`. */
  name(index: number): string {
    const value = this.at(index)
    return value.kind === 'word' ? value.name : String(this.number(index))
  }

  has(index: number): boolean {
    return this.#call.args[index] !== undefined
  }
}

export class Calls {
  readonly #around: Surroundings
  readonly #descriptors = new Map<number, Descriptor>()
  readonly #handlers: { readonly [name: string]: Handler }

  constructor(around: Surroundings) {
    this.#around = around
    const send: Handler = (args) => this.#send(args, args.has(3) ? args.number(3) : 0)
    const receive: Handler = (args) => this.#receive(args, args.has(3) ? args.number(3) : 0)
    this.#handlers = {
      socket: (args) => this.#socket(args),
      bind: (args) => this.#with(args, (d) => d.bind(this.#bindPlace(args))),
      listen: (args) => this.#with(args, (d) => d.listen(args.number(1))),
      accept: (args) => this.#with(args, (d) => d.accept()),
      accept4: (args) => this.#accept4(args),
      connect: (args) => this.#with(args, (d) => d.connect(this.#remotePlace(args.at(1), args.line))),
      write: (args) => this.#send(args, 0),
      send,
      sendto: send,
      writev: (args) => this.#with(args, (d) => d.send(this.#vector(args.at(1), args.line), 0, undefined)),
      sendmsg: (args) => this.#sendMessage(args),
      read: (args) => this.#receive(args, 0),
      recv: receive,
      recvfrom: receive,
      readv: (args) => this.#with(args, (d) => d.receive(lengthOf(this.#vector(args.at(1), args.line)), 0)),
      recvmsg: (args) => this.#receiveMessage(args),
      close: (args) => this.#close(args),
      shutdown: (args) => this.#with(args, (d) => d.shutdown(args.number(1))),
      setsockopt: (args) => this.#setOption(args),
      getsockopt: (args) => this.#getOption(args),
      fcntl: (args) => this.#control(args),
      ioctl: (args) => this.#ioctl(args),
      poll: (args) => this.#poll(args),
    }
  }

  /** @throws Unsupported, ScriptFailure where the call cannot be made at all */
  attempt(call: Call, line: number): Attempt {
    const handler = lookUp(this.#handlers, call.name)
    if (handler === undefined) throw new Unsupported(line, `${call.name}() is not supported`)
    return handler(new Arguments(call, line))
  }

  /** A descriptor that a call has made has this number from now on. */
  add(number: number, descriptor: Descriptor): boolean {
    if (this.#descriptors.has(number)) return false
    this.#descriptors.set(number, descriptor)
    return true
  }

  /** The script is over: what it has left open gives back what is not the stack's. */
  release(): void {
    for (const descriptor of this.#descriptors.values()) descriptor.release()
  }

  #with(args: Arguments, run: (descriptor: Descriptor) => Attempt): Attempt {
    const descriptor = this.#descriptors.get(args.number(0))
    return descriptor === undefined ? () => failure('EBADF') : run(descriptor)
  }

  #socket(args: Arguments): Attempt {
    const { line } = args
    const family = args.at(0)
    if (family.kind !== 'any' && args.name(0) !== 'AF_INET' && args.name(0) !== 'PF_INET') {
      throw new Unsupported(line, `sockets of ${args.name(0)} are not supported`)
    }
    const type = args.number(1)
    const protocol = args.number(2)
    const isStream = (type & SOCK.TYPES) === SOCK.STREAM
    if (!isStream && (type & SOCK.TYPES) !== SOCK.DGRAM)
      throw new Unsupported(line, 'sockets of this type are not supported')
    const own = isStream ? IPPROTO.TCP : IPPROTO.UDP
    if (protocol !== IPPROTO.ANY && protocol !== own) {
      if (protocol === IPPROTO.TCP || protocol === IPPROTO.UDP) return () => failure('EPROTONOSUPPORT')
      throw new Unsupported(line, `sockets of protocol ${args.name(2)} are not supported`)
    }
    return () => {
      const descriptor = isStream ? new TcpDescriptor(this.#around) : new UdpDescriptor(this.#around)
      descriptor.isNonblocking = (type & SOCK.NONBLOCK) !== 0
      return { value: 0, descriptor }
    }
  }

  #accept4(args: Arguments): Attempt {
    const flags = args.number(3)
    const accept = this.#with(args, (d) => d.accept())
    return () => {
      const outcome = accept()
      if (outcome?.descriptor !== undefined) outcome.descriptor.isNonblocking = (flags & SOCK.NONBLOCK) !== 0
      return outcome
    }
  }

  #send(args: Arguments, flags: number): Attempt {
    checkFlags(flags, args.line)
    const length = args.number(2)
    const buffer = args.at(1)
    const content = buffer.kind === 'string' ? bytesOf(buffer.text).subarray(0, length) : length
    const to = args.has(4) ? args.at(4) : ANY
    return this.#with(args, (d) => d.send(content, flags, this.#target(d, to, args.has(4), args.line)))
  }

  /** `...` is the remote for a datagram; 0 or NULL is nobody. */
  #target(descriptor: Descriptor, to: Value, isGiven: boolean, line: number): Place | undefined {
    if (!isGiven || (to.kind === 'number' && to.value === 0) || (to.kind === 'word' && to.name === 'NULL'))
      return undefined
    if (descriptor instanceof TcpDescriptor && to.kind === 'any') return undefined
    return this.#remotePlace(to, line)
  }

  #sendMessage(args: Arguments): Attempt {
    const message = fieldsOf(args.at(1), args.line)
    const flags = args.number(2)
    checkFlags(flags, args.line)
    const control = message.get('msg_control')
    if (control?.kind === 'list' && control.items.length > 0) {
      throw new Unsupported(args.line, 'control messages of sendmsg() are not supported')
    }
    const content = this.#vector(message.get('msg_iov') ?? ANY, args.line)
    const name = message.get('msg_name') ?? ANY
    return this.#with(args, (d) =>
      d.send(content, flags, d instanceof TcpDescriptor ? undefined : this.#remotePlace(name, args.line)),
    )
  }

  #receive(args: Arguments, flags: number): Attempt {
    checkFlags(flags, args.line)
    return this.#with(args, (d) => d.receive(args.number(2), flags))
  }

  #receiveMessage(args: Arguments): Attempt {
    const message = fieldsOf(args.at(1), args.line)
    checkFlags(args.number(2), args.line)
    const control = message.get('msg_control')
    if (control?.kind === 'list' && control.items.length > 0) {
      throw new Unsupported(args.line, 'control messages of recvmsg() are not supported')
    }
    const bytes = lengthOf(this.#vector(message.get('msg_iov') ?? ANY, args.line))
    return this.#with(args, (d) => d.receive(bytes, args.number(2)))
  }

  /** `[{..., 1000}, {"abc", 3}]`: as one. */
  #vector(value: Value, line: number): Content {
    if (value.kind !== 'list') throw new ScriptFailure(line, 'a list of {..., length} is expected')
    const parts = value.items.map((item) => {
      if (item.kind !== 'list' || item.items.length !== 2) throw new ScriptFailure(line, '{..., length} is expected')
      const [buffer, length] = item.items as [Value, Value]
      const count = numberOf(length, line, 'a length')
      return buffer.kind === 'string' ? bytesOf(buffer.text).subarray(0, count) : count
    })
    if (parts.every((part) => typeof part === 'number')) return parts.reduce((sum, part) => sum + part, 0)
    if (parts.some((part) => typeof part === 'number')) {
      throw new Unsupported(line, 'a message of which only a part has its bytes given is not supported')
    }
    return Buffer.concat(parts as Uint8Array[])
  }

  #close(args: Arguments): Attempt {
    const number = args.number(0)
    const close = this.#with(args, (d) => d.close())
    return () => {
      const outcome = close()
      if (outcome !== undefined) this.#descriptors.delete(number)
      return outcome
    }
  }

  #setOption(args: Arguments): Attempt {
    const option = { level: args.name(1), name: args.name(2), line: args.line }
    return this.#with(args, (d) => d.setOption(option, args.at(3)))
  }

  #getOption(args: Arguments): Attempt {
    const option = { level: args.name(1), name: args.name(2), line: args.line }
    const given = args.at(3)
    const expected = given.kind === 'list' ? (given.items[0] ?? ANY) : given
    return this.#with(args, (d) => () => {
      const actual = d.option(option)
      if (expected.kind === 'any') return SUCCESS
      const wanted = expected.kind === 'string' ? expected.text : numberOf(expected, args.line, option.name)
      return wanted === actual
        ? SUCCESS
        : { value: 0, mismatch: `${option.name} is expected to be ${wanted}, and is ${actual}` }
    })
  }

  #control(args: Arguments): Attempt {
    const command = args.name(1)
    if (command !== 'F_GETFL' && command !== 'F_SETFL')
      throw new Unsupported(args.line, `fcntl ${command} is not supported`)
    return this.#with(args, (d) => () => {
      if (command === 'F_GETFL') return success(O.RDWR | (d.isNonblocking ? O.NONBLOCK : 0))
      d.isNonblocking = (args.number(2) & O.NONBLOCK) !== 0
      return SUCCESS
    })
  }

  #ioctl(args: Arguments): Attempt {
    const request = args.name(1)
    const given = args.at(2)
    const expected = given.kind === 'list' ? (given.items[0] ?? ANY) : given
    const counts: { readonly [request: string]: (d: Descriptor) => number } = {
      FIONREAD: (d) => d.readableBytes(args.line),
      SIOCINQ: (d) => d.readableBytes(args.line),
      SIOCOUTQ: (d) => d.unsentBytes(args.line),
      TIOCOUTQ: (d) => d.unsentBytes(args.line),
    }
    const count = lookUp(counts, request)
    if (count === undefined) throw new Unsupported(args.line, `ioctl ${request} is not supported`)
    return this.#with(args, (d) => () => {
      const actual = count(d)
      if (expected.kind === 'any') return SUCCESS
      const wanted = numberOf(expected, args.line, request)
      return wanted === actual
        ? SUCCESS
        : { value: 0, mismatch: `${request} is expected to give ${wanted}, and gives ${actual}` }
    })
  }

  /** Waits until there is an event, or the time is over. */
  #poll(args: Arguments): Attempt {
    const { computer } = this.#around
    const list = args.at(0)
    if (list.kind !== 'list')
      throw new ScriptFailure(args.line, 'poll() gets a list: [{fd=3, events=POLLIN, revents=POLLIN}]')
    const asked = list.items.map((item) => this.#polled(item, args.line))
    const timeoutMs = args.number(2)
    let deadline: number | undefined
    return () => {
      if (deadline === undefined) {
        deadline = timeoutMs < 0 ? Number.POSITIVE_INFINITY : computer.nowUs + timeoutMs * 1000
        if (timeoutMs > 0) computer.wakeIn(timeoutMs * 1000)
      }
      const found = asked.map(({ descriptor, events }) => (descriptor?.events ?? 0) & (events | POLL_ALWAYS))
      const count = found.filter((events) => events !== 0).length
      if (count === 0 && computer.nowUs < deadline) return undefined
      return this.#polledOutcome(asked, found, count)
    }
  }

  #polledOutcome(asked: readonly Polled[], found: readonly number[], count: number): Outcome {
    const wrong = asked.findIndex(({ expected }, i) => expected !== undefined && expected !== found[i])
    if (wrong < 0) return success(count)
    const { number, expected } = asked[wrong]!
    const hex = (events: number) => `0x${events.toString(16)}`
    const mismatch = `revents of fd ${number} is expected to be ${hex(expected!)}, and is ${hex(found[wrong]!)}`
    return { value: count, mismatch }
  }

  #polled(item: Value, line: number): Polled {
    const fields = fieldsOf(item, line)
    const number = numberOf(fields.get('fd'), line, 'fd')
    const revents = fields.get('revents')
    return {
      number,
      descriptor: this.#descriptors.get(number),
      events: numberOf(fields.get('events'), line, 'events'),
      expected: revents?.kind === 'any' ? undefined : revents === undefined ? 0 : numberOf(revents, line, 'revents'),
    }
  }

  #bindPlace(args: Arguments): Place {
    const { localAddress, bindPort } = this.#around.settings
    const value = args.at(1)
    return value.kind === 'any' ? { address: localAddress, port: bindPort } : placeOf(value, args.line)
  }

  #remotePlace(value: Value, line: number): Place {
    const { remoteAddress, connectPort } = this.#around.settings
    return value.kind === 'any' ? { address: remoteAddress, port: connectPort } : placeOf(value, line)
  }
}

interface Polled {
  readonly number: number
  readonly descriptor: Descriptor | undefined
  readonly events: number
  readonly expected: number | undefined
}

function fieldsOf(value: Value, line: number): ReadonlyMap<string, Value> {
  if (value.kind === 'record') return value.fields
  throw new ScriptFailure(line, '{name=value, …} is expected')
}

/** `{sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr("192.0.2.1")}` */
function placeOf(value: Value, line: number): Place {
  const fields = fieldsOf(value, line)
  const family = fields.get('sa_family')
  if (family?.kind !== 'word' || family.name !== 'AF_INET')
    throw new Unsupported(line, 'only addresses of AF_INET are supported')
  const address = fields.get('sin_addr')
  const text = address?.kind === 'call' && address.name === 'inet_addr' ? address.args[0] : undefined
  if (text?.kind !== 'string') throw new ScriptFailure(line, 'sin_addr is inet_addr("…")')
  return { address: text.text, port: numberOf(fields.get('sin_port'), line, 'sin_port') }
}

function checkFlags(flags: number, line: number): void {
  const unknown = flags & ~MSG_KNOWN
  if (unknown !== 0) throw new Unsupported(line, `flags 0x${unknown.toString(16)} of send and recv are not supported`)
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

function lengthOf(content: Content): number {
  return typeof content === 'number' ? content : content.length
}
