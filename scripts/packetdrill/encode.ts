// An inbound packet of a script as bytes for the wire.
import { type Bytes, icmp, ip, join, Protocol, tcp, tcpOption, udp } from '../../src/net/testing/frame.ts'
import { ScriptFailure } from './error.ts'
import type { Flow } from './flow.ts'
import { IcmpTypes, icmpCode } from './icmp.ts'
import type { IcmpPacket, Packet, Service, TcpOption, TcpPacket } from './script.ts'
import { pattern, Seeds } from './stream.ts'
import { lookUp } from './table.ts'

const ECN = { noecn: 0, ect1: 1, ect0: 2, ce: 3, ect01: 2 } as const
const LETTERS: { readonly [letter: string]: string } = { '.': 'A', W: 'C' }
const ECHO_BYTES = 56
const IP_BYTES = 20
/** What an ICMP error quotes behind the IP header. */
const QUOTED_BYTES = 8
const UDP_BYTES = 8

/** @throws ScriptFailure where the packet cannot be: an ICMP code that there is not, an echo of a timestamp that nobody sent */
export function encode(packet: Packet, flow: Flow, line: number, echoScaled: boolean): Bytes {
  const { localAddress, remoteAddress, localPort, remotePort } = flow.ends
  const fields = {
    source: remoteAddress,
    target: localAddress,
    sourcePort: packet.kind !== 'icmp' && packet.ports !== undefined ? packet.ports.source : remotePort,
    targetPort: packet.kind !== 'icmp' && packet.ports !== undefined ? packet.ports.target : localPort,
    service: serviceByte(packet.service),
    ...(packet.ttl === undefined ? {} : { ttl: packet.ttl }),
  }
  if (packet.kind === 'udp') return udp(fields, pattern(Seeds.fromPeer, 0, packet.length))
  if (packet.kind === 'icmp') return encodeIcmp(packet, flow, line, fields)
  const isSyn = packet.flags.includes('S')
  const isAck = packet.flags.includes('.')
  return tcp(
    {
      ...fields,
      seq: flow.peer.toLive(packet.start, isSyn),
      ack: isAck ? flow.host.toLive(packet.ack, isSyn) : packet.ack,
      flags: [...packet.flags].map((letter) => LETTERS[letter] ?? letter).join(''),
      window: packet.window ?? 0,
      urgent: packet.urgent,
      tcpOptions: encodeOptions(packet, flow, line, echoScaled),
    },
    // The stream's first byte is behind the SYN.
    pattern(Seeds.fromPeer, packet.start + (isSyn ? 1 : 0) - 1 - (isSyn ? flow.peer.script : 0), packet.length),
  )
}

export function serviceByte(service: Service | undefined): number {
  if (service === undefined) return 0
  return service.kind === 'whole' ? service.value : ECN[service.name]
}

function encodeOptions({ options, flags }: TcpPacket, flow: Flow, line: number, echoScaled: boolean): Bytes {
  if (options === 'any') return new Uint8Array()
  return join(...options.map((option) => encodeOption(option, flow, flags, line, echoScaled)))
}

function encodeOption(
  option: TcpOption,
  flow: Flow,
  flags: string,
  line: number,
  echoScaled: boolean,
): Bytes | readonly number[] {
  switch (option.kind) {
    case 'nop':
      return tcpOption.noOperation
    case 'eol':
      return tcpOption.end
    case 'sackOK':
      return tcpOption.sackPermitted
    case 'mss':
      return tcpOption.mss(option.value)
    case 'wscale':
      return tcpOption.windowScale(option.value)
    case 'sack': {
      const isSyn = flags.includes('S')
      const live = option.blocks.map(
        ([start, end]) => [flow.host.toLive(start, isSyn), flow.host.toLive(end, isSyn)] as const,
      )
      return tcpOption.sack(...live)
    }
    default: {
      if (!flags.includes('.')) return tcpOption.timestamps(option.value, option.echo)
      const echo = flow.echoToLive(option.echo, echoScaled)
      if (echo === undefined) {
        const sentence = `ecr ${option.echo} is no val of an outbound segment before: --tcp_ts_ecr_scaled lets it be any`
        throw new ScriptFailure(line, sentence)
      }
      return tcpOption.timestamps(option.value, echo)
    }
  }
}

function encodeIcmp(
  packet: IcmpPacket,
  flow: Flow,
  line: number,
  fields: { readonly source: string; readonly target: string; readonly service: number },
): Bytes {
  const type = lookUp(IcmpTypes, packet.type)
  if (type === undefined) throw new ScriptFailure(line, `${packet.type} is no type of an ICMP message`)
  const code = icmpCode(type, packet.code)
  if (code === undefined) throw new ScriptFailure(line, `${packet.code} is no code of ${packet.type}`)
  const rest = type === IcmpTypes.unreachable ? (packet.mtu ?? 0) : ((packet.id ?? 0) << 16) >>> 0
  const data = packet.quoted === undefined ? pattern(Seeds.fromPeer, 0, ECHO_BYTES) : quote(packet.quoted, flow)
  return icmp({ ...fields, type, code, rest }, data)
}

/** The IP header of what the host has sent, and the first 8 bytes behind it. */
function quote({ protocol, start, length }: NonNullable<IcmpPacket['quoted']>, { ends, host }: Flow): Bytes {
  const { localAddress: source, remoteAddress: target, localPort: sourcePort, remotePort: targetPort } = ends
  if (protocol === 'udp') {
    const whole = udp({ source, target, sourcePort, targetPort }, new Uint8Array(length))
    return whole.subarray(0, IP_BYTES + UDP_BYTES)
  }
  const segment = tcp({ source, target, sourcePort, targetPort, seq: host.toLive(start, false) })
  const payload = segment.subarray(IP_BYTES, IP_BYTES + QUOTED_BYTES)
  const totalLength = segment.length + length
  return ip({ source, target, protocol: Protocol.tcp, totalLength, dontFragment: true }, payload)
}
