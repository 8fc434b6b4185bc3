// The packets of a script. For parser.ts.
//
//     < S 0:0(0) win 1000 <mss 1000,sackOK,TS val 1 ecr 0>        > (ect0) . 1:1001(1000) ack 1
//     < udp (100)                                                 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]
import type { Reader } from './reader.ts'
import type { IcmpPacket, Packet, Ports, Service, TcpOption, TcpPacket, UdpPacket } from './script.ts'

const U16 = 65535
const U32 = 2 ** 32 - 1
/** Packets within others, and what else the language has that the stack has not. */
const ENCAPSULATIONS = ['ipv4', 'ipv6', 'gre', 'GREv0', 'mpls', 'encap'] as const
const FLAGS = 'FSRPUEW'
const OPTION_BYTES_MAX = 40

export function parsePacket(reader: Reader): Packet {
  const direction = reader.take().text === '<' ? 'in' : 'out'
  for (const name of ENCAPSULATIONS) if (reader.isWord(name)) reader.skipScript(`${name} headers are not supported`)
  const ip = parseIp(reader)
  if (reader.isWord('encap')) reader.skipScript('encap headers are not supported')
  if (ip.service?.kind === 'ecn' && ip.service.name === 'ect01' && direction === 'in') {
    reader.fail('ect01 is for outbound packets only: a packet is sent with one of ect0 and ect1')
  }
  if (reader.skipWord('icmp')) return { ...parseIcmp(reader), direction, ...ip }
  if (reader.skipWord('udp')) return { ...parseUdp(reader), direction, ...ip }
  const packet: TcpPacket = { ...parseTcp(reader), direction, ...ip }
  if (direction === 'in' && packet.window === undefined) reader.fail('an inbound segment has a window: win is expected')
  if (direction === 'in' && packet.options === 'any') reader.fail('<...> is for outbound packets only')
  return packet
}

function parseIp(reader: Reader): { service?: Service; ttl?: number } {
  const close = reader.isSymbol('(') ? ')' : reader.isSymbol('[') ? ']' : undefined
  if (close === undefined) return {}
  reader.take()
  const ip = parseIpField(reader)
  if (reader.skipSymbol(',')) reader.skipScript('flow labels are not supported: IPv6 is not')
  reader.symbol(close)
  return ip
}

function parseIpField(reader: Reader): { service?: Service; ttl?: number } {
  const name = reader.word('ect0, ect1, ce, noecn, ect01, tos or ttl')
  switch (name) {
    case 'ect0':
    case 'ect1':
    case 'ce':
    case 'noecn':
    case 'ect01':
      return { service: { kind: 'ecn', name } }
    case 'tos': {
      if (!reader.is('hex')) reader.fail('a number such as 0x10 is expected')
      const value = Number(reader.take().text)
      if (value > 255) reader.fail('tos is one byte')
      return { service: { kind: 'whole', value } }
    }
    case 'ttl':
      return { ttl: reader.integer('ttl', 1, 255) }
    case 'flowlabel':
      return reader.skipScript('flow labels are not supported: IPv6 is not')
    default:
      return reader.fail(`${name} is no field of an IP header`)
  }
}

function parsePorts(reader: Reader): Ports | undefined {
  if (!reader.is('integer')) return undefined
  const source = reader.integer('the source port', 0, U16)
  reader.symbol('>')
  return { source, target: reader.integer('the destination port', 0, U16) }
}

function parseTcp(reader: Reader): Omit<TcpPacket, 'direction'> {
  const ports = parsePorts(reader)
  const flags = parseFlags(reader)
  const { start, length } = parseSequence(reader)
  const ack = reader.skipWord('ack') ? reader.integer('the acknowledgment number', 0, U32) : 0
  const window = reader.skipWord('win') ? reader.integer('win', 0, U16) : undefined
  const urgent = reader.skipWord('urg') ? reader.integer('urg', 0, U16) : 0
  const options = parseOptions(reader)
  return {
    kind: 'tcp',
    ...(ports === undefined ? {} : { ports }),
    ...{ flags, start, length, ack, urgent, options },
    ...(window === undefined ? {} : { window }),
  }
}

function parseFlags(reader: Reader): string {
  if (reader.skipSymbol('-')) return ''
  let flags = reader.is('word') ? reader.take().text : ''
  if (reader.is('float')) reader.skipScript('the ACE field of AccECN is not supported')
  if (reader.skipSymbol('.')) flags += '.'
  if (flags.includes('A')) reader.skipScript('the AE flag of AccECN is not supported')
  const wrong = [...flags].find((letter) => letter !== '.' && !FLAGS.includes(letter))
  if (flags === '' || wrong !== undefined) reader.fail(`flags are expected: - for none, or some of ${FLAGS} and .`)
  return flags
}

/** `1:1001(1000)` */
function parseSequence(reader: Reader): { start: number; length: number } {
  const start = reader.integer('a sequence number', 0, U32)
  reader.symbol(':')
  const end = reader.integer('a sequence number', 0, U32)
  reader.symbol('(')
  const length = reader.integer('the length', 0, U16)
  reader.symbol(')')
  if ((start + length) % 2 ** 32 !== end) reader.fail(`${start}:${end} is not ${length} bytes`)
  return { start, length }
}

function parseOptions(reader: Reader): readonly TcpOption[] | 'any' {
  if (!reader.skipSymbol('<')) return []
  if (reader.is('ellipsis')) {
    reader.take()
    reader.symbol('>')
    return 'any'
  }
  const options: TcpOption[] = []
  do options.push(parseOption(reader))
  while (reader.skipSymbol(','))
  reader.symbol('>')
  const bytes = options.reduce((sum, option) => sum + optionBytes(option), 0)
  if (bytes > OPTION_BYTES_MAX)
    reader.fail(`a header has room for ${OPTION_BYTES_MAX} bytes of options, not for ${bytes}`)
  if (bytes % 4 !== 0) reader.fail(`options of ${bytes} bytes do not end a word: fill them up with nop`)
  return options
}

/** What it takes in a header. */
export function optionBytes(option: TcpOption): number {
  switch (option.kind) {
    case 'nop':
    case 'eol':
      return 1
    case 'sackOK':
      return 2
    case 'wscale':
      return 3
    case 'mss':
      return 4
    case 'TS':
      return 10
    default:
      return 2 + 8 * option.blocks.length
  }
}

function parseOption(reader: Reader): TcpOption {
  const kind = reader.word('an option')
  switch (kind) {
    case 'nop':
    case 'eol':
    case 'sackOK':
      return { kind }
    case 'mss':
      return { kind, value: reader.integer('mss', 0, U16) }
    case 'wscale':
      return { kind, value: reader.integer('wscale', 0, 255) }
    case 'TS': {
      if (!reader.skipWord('val')) reader.fail('val is expected')
      const value = reader.integer('val', 0, U32)
      if (!reader.skipWord('ecr')) reader.fail('ecr is expected')
      return { kind, value, echo: reader.integer('ecr', 0, U32) }
    }
    case 'sack': {
      const blocks: [number, number][] = []
      while (reader.is('integer')) {
        const start = reader.integer('the start of a block', 0, U32)
        reader.symbol(':')
        blocks.push([start, reader.integer('the end of a block', 0, U32)])
      }
      if (blocks.length === 0) reader.fail('a block is expected')
      return { kind, blocks }
    }
    case 'FO':
    case 'FOEXP':
      return reader.skipScript('TCP Fast Open is not supported')
    case 'md5':
      return reader.skipScript('TCP MD5 signatures are not supported')
    case 'ECN':
      return reader.skipScript('the AccECN option is not supported')
    default:
      return reader.fail(`${kind} is no option: mss, wscale, sackOK, sack, TS, nop or eol is expected`)
  }
}

function parseUdp(reader: Reader): Omit<UdpPacket, 'direction'> {
  const ports = parsePorts(reader)
  return { kind: 'udp', ...(ports === undefined ? {} : { ports }), length: parseLength(reader) }
}

function parseLength(reader: Reader): number {
  reader.symbol('(')
  const length = reader.integer('the length', 0, U16)
  reader.symbol(')')
  return length
}

function parseIcmp(reader: Reader): Omit<IcmpPacket, 'direction'> {
  const type = reader.word('the type of the ICMP message')
  const hasCode = reader.is('word') && !reader.isWord('mtu') && !reader.isWord('id')
  const code = hasCode ? reader.take().text : undefined
  const mtu = reader.skipWord('mtu') ? reader.integer('mtu', 0, U16) : undefined
  const id = reader.skipWord('id') ? reader.integer('id', 0, U16) : undefined
  const quoted = reader.skipSymbol('[') ? parseQuoted(reader) : undefined
  return {
    ...{ kind: 'icmp', type },
    ...(code === undefined ? {} : { code }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(id === undefined ? {} : { id }),
    ...(quoted === undefined ? {} : { quoted }),
  }
}

function parseQuoted(reader: Reader): NonNullable<IcmpPacket['quoted']> {
  if (reader.isWord('raw')) reader.skipScript('ICMP about raw packets is not supported')
  const quoted = reader.skipWord('udp')
    ? ({ protocol: 'udp', start: 0, length: parseLength(reader) } as const)
    : ({ protocol: 'tcp', ...parseSequence(reader) } as const)
  reader.symbol(']')
  return quoted
}
