// A packet that the host has sent, in the script's words and numbers.
import { type Bytes, get16, get32, type Read } from '../../src/net/testing/frame.ts'
import type { Flow } from './flow.ts'
import { IcmpTypes, icmpCodeName, icmpTypeName } from './icmp.ts'
import type { IcmpPacket, Packet, Service, TcpOption, TcpPacket } from './script.ts'

export interface Actual {
  readonly packet: Packet
  readonly payload: Bytes
  readonly service: number
  readonly ttl: number
  /** When it was on the wire, in the script's time. */
  readonly atUs: number
  /** An outbound timestamp as it was. */
  readonly liveStamp: number | undefined
}

const FLAGS: readonly (readonly [letter: string, script: string])[] = [
  ['F', 'F'],
  ['S', 'S'],
  ['R', 'R'],
  ['P', 'P'],
  ['U', 'U'],
  ['E', 'E'],
  ['C', 'W'],
  ['A', '.'],
]
const ECN = ['noecn', 'ect1', 'ect0', 'ce'] as const

/** Undefined where it is no packet of IPv4 with a transport that scripts have. */
export function actualOf(frame: Read, flow: Flow, atUs: number): Actual | undefined {
  const { ip: head, tcp, udp, icmp, payload } = frame
  if (head === undefined) return undefined
  const ip = { direction: 'out', service: serviceOf(head.service) } as const
  const common = { payload, service: head.service, ttl: head.ttl, atUs }
  if (tcp !== undefined) {
    return { ...common, packet: { ...tcpOf(frame, flow), ...ip }, liveStamp: tcp.timestamps?.value }
  }
  if (udp !== undefined)
    return { ...common, packet: { kind: 'udp', ...ip, length: payload.length }, liveStamp: undefined }
  if (icmp !== undefined) return { ...common, packet: { ...icmpOf(frame, flow), ...ip }, liveStamp: undefined }
  return undefined
}

function serviceOf(byte: number): Service {
  return (byte & 0xfc) === 0 ? { kind: 'ecn', name: ECN[byte & 3]! } : { kind: 'whole', value: byte }
}

function tcpOf({ tcp, payload }: Read, flow: Flow): Omit<TcpPacket, 'direction'> {
  const { flags, seq, ack, window, urgent, options } = tcp!
  const isSyn = flags.includes('S')
  return {
    kind: 'tcp',
    flags: FLAGS.map(([letter, script]) => (flags.includes(letter) ? script : '')).join(''),
    start: flow.host.toScript(seq, isSyn),
    length: payload.length,
    ack: flags.includes('A') ? flow.peer.toScript(ack, isSyn) : 0,
    window,
    urgent,
    options: readOptions(options, flow, isSyn),
  }
}

/** One by one, with what fills them up: frame.ts has seen that they lie within the header. */
function readOptions(bytes: Bytes, flow: Flow, isSyn: boolean): TcpOption[] {
  const options: TcpOption[] = []
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at]!
    if (kind <= 1) {
      options.push({ kind: kind === 0 ? 'eol' : 'nop' })
      at++
      continue
    }
    const length = bytes[at + 1]!
    if (kind === 2) options.push({ kind: 'mss', value: get16(bytes, at + 2) })
    else if (kind === 3) options.push({ kind: 'wscale', value: bytes[at + 2]! })
    else if (kind === 4) options.push({ kind: 'sackOK' })
    else if (kind === 5) {
      const number = (index: number) => flow.peer.toScript(get32(bytes, at + 2 + 4 * index), isSyn)
      const blocks = Array.from({ length: (length - 2) / 8 }, (_, i) => [number(2 * i), number(2 * i + 1)] as const)
      options.push({ kind: 'sack', blocks })
    } else {
      options.push({ kind: 'TS', value: flow.stampToScript(get32(bytes, at + 2)), echo: get32(bytes, at + 6) })
    }
    at += length
  }
  return options
}

function icmpOf({ icmp, payload }: Read, flow: Flow): Omit<IcmpPacket, 'direction'> {
  const { type, code, rest } = icmp!
  const names = { type: icmpTypeName(type), code: icmpCodeName(type, code).trim() }
  const name = names.code === '' ? { type: names.type } : names
  if (type === IcmpTypes.echo_reply || type === IcmpTypes.echo_request)
    return { kind: 'icmp', ...name, id: rest >>> 16 }
  if (payload.length < 28) return { kind: 'icmp', ...name }
  const isUdp = payload[9] === 17
  const length = get16(payload, 2) - 20
  const quoted = isUdp
    ? { protocol: 'udp', start: 0, length: length - 8 }
    : { protocol: 'tcp', start: flow.host.toScript(get32(payload, 24), false), length: length - 20 }
  return { kind: 'icmp', ...name, quoted: quoted as NonNullable<IcmpPacket['quoted']> }
}
