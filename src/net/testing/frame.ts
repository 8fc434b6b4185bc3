// Frames for tests: builders whose every field can be made wrong, and a reader that believes nothing. Plain bytes, outside
// of any machine, and written against the RFCs' pictures and not against the stack's own records: a second opinion.
import assert from 'node:assert/strict'

export type Bytes = Uint8Array

export const BROADCAST = 'ff:ff:ff:ff:ff:ff'

export interface EtherFields {
  readonly source?: string
  readonly target?: string
  /** Default: IPv4. */
  readonly type?: number
}

export interface ArpFields {
  readonly operation?: 'request' | 'reply' | number
  readonly senderLink?: string
  readonly sender?: string
  readonly targetLink?: string
  readonly target?: string
  readonly hardwareType?: number
  readonly protocolType?: number
  readonly hardwareLength?: number
  readonly protocolLength?: number
}

export interface IpFields {
  readonly source?: string
  readonly target?: string
  readonly protocol?: number
  readonly ttl?: number
  readonly id?: number
  readonly service?: number
  readonly dontFragment?: boolean
  readonly more?: boolean
  /** In bytes: a multiple of 8. */
  readonly offset?: number
  readonly options?: readonly number[]
  readonly version?: number
  /** In words. */
  readonly headerLength?: number
  readonly totalLength?: number
  readonly checksum?: number
}

export interface UdpFields {
  readonly sourcePort?: number
  readonly targetPort?: number
  readonly length?: number
  readonly checksum?: number
}

/** Sequence numbers are unsigned, as they are on the wire. */
export interface TcpFields {
  readonly sourcePort?: number
  readonly targetPort?: number
  readonly seq?: number
  readonly ack?: number
  /** Letters of FLAGS in any order: `SA` is SYN and ACK. Default: ACK. */
  readonly flags?: string
  readonly window?: number
  readonly urgent?: number
  /** What `tcpOption` makes. Filled up with "no operation" to whole words. */
  readonly tcpOptions?: Bytes | readonly number[]
  /** In words. */
  readonly dataOffset?: number
  readonly checksum?: number
}

/** TCP's control bits as letters, the lowest first; E and C are ECE and CWR. */
export const FLAGS = 'FSRPAUEC'

export interface IcmpFields {
  readonly type: number
  readonly code?: number
  /** The second word. */
  readonly rest?: number
  readonly checksum?: number
}

export const Protocol = { icmp: 1, tcp: 6, udp: 17 } as const
export const Type = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const

// Loops, and not what typed arrays make of iterators: tests make frames by the ten thousand, and that was a third of their time.

export function join(...parts: readonly (Bytes | readonly number[])[]): Bytes {
  let length = 0
  for (const part of parts) length += part.length
  const all = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

export function address(text: string): Bytes {
  return numbers(text.split('.'), 10)
}

export function link(text: string): Bytes {
  return numbers(text.split(':'), 16)
}

function numbers(texts: readonly string[], radix: number): Bytes {
  const bytes = new Uint8Array(texts.length)
  for (let i = 0; i < texts.length; i++) bytes[i] = Number.parseInt(texts[i]!, radix)
  return bytes
}

/** `length` bytes that count up from `first`. */
export function counting(length: number, first = 0): Bytes {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = i + first
  return bytes
}

export function text(string: string): Bytes {
  return new TextEncoder().encode(string)
}

/** The Internet checksum of RFC 1071, word by word. */
export function checksumOf(...parts: readonly Bytes[]): number {
  const all = join(...parts)
  let sum = 0
  for (let i = 0; i < all.length; i += 2) sum += (all[i]! << 8) | (all[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

export function ether(fields: EtherFields, payload: Bytes): Bytes {
  const { source = '02:00:00:00:00:09', target = BROADCAST, type = Type.ipv4 } = fields
  return join(link(target), link(source), be16(type), payload)
}

export function arp(fields: ArpFields): Bytes {
  const { operation = 'request', senderLink = '02:00:00:00:00:09', sender = '10.0.0.9' } = fields
  const { targetLink = '00:00:00:00:00:00', target = '10.0.0.1' } = fields
  const { hardwareType = 1, protocolType = Type.ipv4, hardwareLength = 6, protocolLength = 4 } = fields
  const number = typeof operation === 'number' ? operation : operation === 'request' ? 1 : 2
  const head = join(be16(hardwareType), be16(protocolType), [hardwareLength, protocolLength], be16(number))
  return join(head, link(senderLink), address(sender), link(targetLink), address(target))
}

export function ip(fields: IpFields, payload: Bytes): Bytes {
  const { source = '10.0.0.9', target = '10.0.0.1', protocol = Protocol.udp, ttl = 64, id = 1, service = 0 } = fields
  const { dontFragment = false, more = false, offset = 0, options = [], version = 4 } = fields
  assert.equal(options.length % 4, 0, 'options are whole words')
  const { headerLength = 5 + options.length / 4, totalLength = 20 + options.length + payload.length } = fields
  const flags = (dontFragment ? 0x4000 : 0) | (more ? 0x2000 : 0) | (offset >> 3)
  const first = join([(version << 4) | headerLength, service], be16(totalLength), be16(id), be16(flags))
  const head = join(first, [ttl, protocol, 0, 0], address(source), address(target), options)
  put16(head, 10, fields.checksum ?? checksumOf(head))
  return join(head, payload)
}

/** `checksum` is UDP's. */
export function udp(fields: UdpFields & IpFields, payload: Bytes): Bytes {
  const { checksum: _, ...rest } = fields
  return ip({ ...rest, protocol: Protocol.udp }, udpSegment(fields, payload))
}

/** A UDP datagram without its IP header. */
export function udpSegment(fields: UdpFields & { source?: string; target?: string }, payload: Bytes): Bytes {
  const { source = '10.0.0.9', target = '10.0.0.1', sourcePort = 5000, targetPort = 7 } = fields
  const { length = 8 + payload.length } = fields
  const head = join(be16(sourcePort), be16(targetPort), be16(length), [0, 0])
  const pseudo = join(address(source), address(target), [0, Protocol.udp], be16(length))
  // 0 says that there is none (RFC 768).
  put16(head, 6, fields.checksum ?? (checksumOf(pseudo, head, payload) || 0xffff))
  return join(head, payload)
}

/** `checksum` is TCP's. */
export function tcp(fields: TcpFields & IpFields, payload: Bytes = new Uint8Array()): Bytes {
  const { checksum: _, ...rest } = fields
  return ip({ ...rest, protocol: Protocol.tcp }, tcpSegment(fields, payload))
}

/** A TCP segment without its IP header. */
export function tcpSegment(fields: TcpFields & { source?: string; target?: string }, payload: Bytes): Bytes {
  const { source = '10.0.0.9', target = '10.0.0.1', sourcePort = 5000, targetPort = 7, seq = 0, ack = 0 } = fields
  const { flags = 'A', window = 65535, urgent = 0, tcpOptions = [] } = fields
  const options = join(tcpOptions, new Array<number>((4 - (tcpOptions.length % 4)) % 4).fill(1))
  const { dataOffset = 5 + options.length / 4 } = fields
  let bits = 0
  for (const letter of flags) {
    const bit = FLAGS.indexOf(letter)
    assert(bit >= 0, `${letter} is no control bit`)
    bits |= 1 << bit
  }
  const head = join(
    join(be16(sourcePort), be16(targetPort), be32(seq), be32(ack)),
    join([(dataOffset << 4) & 0xff, bits], be16(window), [0, 0], be16(urgent), options),
  )
  const length = head.length + payload.length
  const pseudo = join(address(source), address(target), [0, Protocol.tcp], be16(length))
  put16(head, 16, fields.checksum ?? checksumOf(pseudo, head, payload))
  return join(head, payload)
}

/** TCP's options, one by one: to be joined. */
export const tcpOption = {
  end: [0],
  noOperation: [1],
  mss: (bytes: number) => join([2, 4], be16(bytes)),
  windowScale: (shift: number) => Uint8Array.of(3, 3, shift),
  sackPermitted: Uint8Array.of(4, 2),
  sack: (...blocks: readonly (readonly [number, number])[]) =>
    join([5, 2 + 8 * blocks.length], ...blocks.map(([start, end]) => join(be32(start), be32(end)))),
  timestamps: (value: number, echo: number) => join([8, 10], be32(value), be32(echo)),
} as const

/** `checksum` is ICMP's. */
export function icmp(fields: IcmpFields & IpFields, data: Bytes): Bytes {
  const { checksum: _, ...rest } = fields
  return ip({ ...rest, protocol: Protocol.icmp }, icmpMessage(fields, data))
}

export function icmpMessage(fields: IcmpFields, data: Bytes): Bytes {
  const { type, code = 0, rest = 0 } = fields
  const head = join([type, code, 0, 0], be16(rest >>> 16), be16(rest & 0xffff))
  put16(head, 2, fields.checksum ?? checksumOf(head, data))
  return join(head, data)
}

/** Cuts an IP packet without options into fragments that carry `each` bytes (a multiple of 8). */
export function fragments(packet: Bytes, each: number, id = 77): Bytes[] {
  const source = addressText(packet, 12)
  const target = addressText(packet, 16)
  const [ttl, protocol] = [packet[8]!, packet[9]!]
  const payload = packet.subarray(20)
  const cut: Bytes[] = []
  for (let offset = 0; offset < payload.length; offset += each) {
    const more = offset + each < payload.length
    cut.push(ip({ source, target, protocol, ttl, id, offset, more }, payload.subarray(offset, offset + each)))
  }
  return cut
}

/** The identifier and the sequence number of an echo, as the second word. */
export function echoRest(identifier: number, sequence: number): number {
  return ((identifier << 16) | sequence) >>> 0
}

/** A frame, read. What is not there is undefined. */
export interface Read {
  readonly ether: { readonly source: string; readonly target: string; readonly type: number }
  readonly arp?: {
    readonly operation: 'request' | 'reply' | number
    readonly senderLink: string
    readonly sender: string
    readonly targetLink: string
    readonly target: string
  }
  readonly ip?: {
    readonly source: string
    readonly target: string
    readonly protocol: number
    readonly ttl: number
    readonly id: number
    readonly service: number
    readonly totalLength: number
    readonly more: boolean
    readonly dontFragment: boolean
    readonly offset: number
  }
  readonly udp?: { readonly sourcePort: number; readonly targetPort: number; readonly length: number }
  readonly icmp?: { readonly type: number; readonly code: number; readonly rest: number }
  readonly tcp?: ReadTcp
  /** Behind the last header that was read: of a fragment, behind the IP header. */
  readonly payload: Bytes
}

/** A TCP header, read. */
export interface ReadTcp {
  readonly sourcePort: number
  readonly targetPort: number
  readonly seq: number
  readonly ack: number
  /** Letters of FLAGS, in its order. */
  readonly flags: string
  readonly window: number
  readonly urgent: number
  readonly mss?: number
  readonly windowScale?: number
  readonly sackPermitted?: true
  readonly timestamps?: { readonly value: number; readonly echo: number }
  /** Pairs of start and end. */
  readonly sack?: readonly (readonly [number, number])[]
  /** The options' bytes. */
  readonly options: Bytes
}

const IGMP = 2

/** Reads a frame that the stack has sent, and holds its lengths and checksums against the RFCs. */
export function read(frame: Bytes): Read {
  assert(frame.length >= 14, 'a frame has an Ethernet header')
  const ethernet = { target: linkText(frame, 0), source: linkText(frame, 6), type: get16(frame, 12) }
  const body = frame.subarray(14)
  if (ethernet.type === Type.arp) return { ether: ethernet, ...readArp(body) }
  if (ethernet.type !== Type.ipv4) return { ether: ethernet, payload: body }
  // But for IGMP's router alert (RFC 2113).
  const headerBytes = body[9] === IGMP ? 24 : 20
  assert.equal(body[0], 0x40 | (headerBytes >> 2), 'the stack sends headers without options')
  const head = {
    source: addressText(body, 12),
    target: addressText(body, 16),
    protocol: body[9]!,
    ttl: body[8]!,
    id: get16(body, 4),
    service: body[1]!,
    totalLength: get16(body, 2),
    more: (body[6]! & 0x20) !== 0,
    dontFragment: (body[6]! & 0x40) !== 0,
    offset: (get16(body, 6) & 0x1fff) * 8,
  }
  assert.equal(checksumOf(body.subarray(0, headerBytes)), 0, 'the IP header has its checksum')
  assert.equal(head.totalLength, body.length, 'the total length is that of the packet')
  assert.equal(body[6]! & 0x80, 0, 'the reserved bit is 0')
  const payload = body.subarray(headerBytes)
  if (head.more || head.offset > 0) return { ether: ethernet, ip: head, payload }
  return { ether: ethernet, ip: head, ...readTransport(head, payload) }
}

/** The whole out of the fragments of one datagram, read anew. */
export function reassemble(frames: readonly Bytes[]): Read {
  const parts = frames
    .map((frame) => ({ ...read(frame), payload: frame.subarray(34) }))
    .sort((a, b) => a.ip!.offset - b.ip!.offset)
  let end = 0
  parts.forEach((part, i) => {
    assert.equal(part.ip!.offset, end, 'fragments follow each other without a gap')
    assert.equal(part.ip!.id, parts[0]!.ip!.id)
    assert.equal(part.ip!.more, i < parts.length - 1, 'all but the last say that there are more')
    assert(part.ip!.more === false || part.payload.length % 8 === 0, 'what is not the end is a multiple of 8')
    end += part.payload.length
  })
  const first = parts[0]!
  const payload = join(...parts.map((part) => part.payload))
  return { ether: first.ether, ip: first.ip!, ...readTransport(first.ip!, payload) }
}

function readTransport(head: NonNullable<Read['ip']>, payload: Bytes): Omit<Read, 'ether' | 'ip'> {
  if (head.protocol === Protocol.udp) {
    const length = get16(payload, 4)
    assert.equal(length, payload.length, 'the UDP length is that of the datagram')
    const pseudo = join(address(head.source), address(head.target), [0, Protocol.udp], be16(length))
    assert.notEqual(get16(payload, 6), 0, 'UDP is sent with a checksum')
    assert.equal(checksumOf(pseudo, payload), 0, 'the datagram has its checksum')
    const ports = { sourcePort: get16(payload, 0), targetPort: get16(payload, 2), length }
    return { udp: ports, payload: payload.subarray(8) }
  }
  if (head.protocol === Protocol.tcp) {
    const pseudo = join(address(head.source), address(head.target), [0, Protocol.tcp], be16(payload.length))
    assert.equal(checksumOf(pseudo, payload), 0, 'the segment has its checksum')
    const headerBytes = (payload[12]! >>> 4) * 4
    assert(headerBytes >= 20 && headerBytes <= payload.length, 'the data offset lies within the segment')
    assert.equal(payload[12]! & 15, 0, 'the reserved bits are 0')
    return { tcp: readTcp(payload.subarray(0, headerBytes)), payload: payload.subarray(headerBytes) }
  }
  if (head.protocol === Protocol.icmp) {
    assert.equal(checksumOf(payload), 0, 'the ICMP message has its checksum')
    const rest = ((get16(payload, 4) << 16) | get16(payload, 6)) >>> 0
    return { icmp: { type: payload[0]!, code: payload[1]!, rest }, payload: payload.subarray(8) }
  }
  return { payload }
}

function readTcp(header: Bytes): ReadTcp {
  const flags = [...FLAGS].filter((_, bit) => (header[13]! & (1 << bit)) !== 0).join('')
  if (!flags.includes('U')) assert.equal(get16(header, 18), 0, 'without URG the urgent pointer is 0')
  if (!flags.includes('A')) assert.equal(get32(header, 8), 0, 'without ACK the acknowledgment number is 0')
  const options = header.subarray(20)
  return {
    sourcePort: get16(header, 0),
    targetPort: get16(header, 2),
    seq: get32(header, 4),
    ack: get32(header, 8),
    flags,
    window: get16(header, 14),
    urgent: get16(header, 18),
    options,
    ...readTcpOptions(options),
  }
}

function readTcpOptions(options: Bytes): Partial<ReadTcp> {
  const found: { -readonly [name in keyof ReadTcp]?: ReadTcp[name] } = {}
  for (let at = 0; at < options.length; ) {
    const kind = options[at]!
    if (kind === 1) {
      at++
      continue
    }
    assert.notEqual(kind, 0, 'the stack fills up its options and does not end them')
    const length = options[at + 1]!
    assert(length >= 2 && at + length <= options.length, 'an option lies within the header')
    const value = options.subarray(at + 2, at + length)
    if (kind === 2) found.mss = get16(value, 0)
    else if (kind === 3) found.windowScale = value[0]!
    else if (kind === 4) found.sackPermitted = true
    else if (kind === 8) found.timestamps = { value: get32(value, 0), echo: get32(value, 4) }
    else {
      assert.equal(kind, 5, 'the stack sends options that we know')
      found.sack = Array.from({ length: value.length / 8 }, (_, i) => [get32(value, 8 * i), get32(value, 8 * i + 4)])
    }
    at += length
  }
  return found
}

function readArp(body: Bytes): Omit<Read, 'ether'> {
  assert.deepEqual([...body.subarray(0, 6)], [0, 1, 8, 0, 6, 4], 'ARP for IPv4 over Ethernet')
  const operation = get16(body, 6)
  return {
    arp: {
      operation: operation === 1 ? 'request' : operation === 2 ? 'reply' : operation,
      senderLink: linkText(body, 8),
      sender: addressText(body, 14),
      targetLink: linkText(body, 18),
      target: addressText(body, 24),
    },
    payload: body.subarray(28),
  }
}

export function be16(value: number): Bytes {
  return Uint8Array.of(value >>> 8, value & 0xff)
}

export function be32(value: number): Bytes {
  return join(be16((value >>> 16) & 0xffff), be16(value & 0xffff))
}

export function get32(bytes: Bytes, at: number): number {
  return ((get16(bytes, at) << 16) | get16(bytes, at + 2)) >>> 0
}

export function get16(bytes: Bytes, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

export function put16(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value & 0xff
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function linkText(bytes: Bytes, at: number): string {
  let text = HEX[bytes[at]!]!
  for (let i = at + 1; i < at + 6; i++) text += `:${HEX[bytes[i]!]}`
  return text
}

function addressText(bytes: Bytes, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`
}
