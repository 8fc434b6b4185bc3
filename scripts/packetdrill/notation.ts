// Packets as scripts write them: for reports.
import type { Packet, Service, TcpOption } from './script.ts'

/** `> (ect0) P. 1:1001(1000) ack 1 win 257 <nop,nop,TS val 1 ecr 2>` */
export function formatPacket(packet: Packet): string {
  return [packet.direction === 'in' ? '<' : '>', ...formatIp(packet), ...formatRest(packet)].join(' ')
}

/** `+0.200000` is written with its µs: that is where timers differ. */
export function formatTime(us: number): string {
  return (us / 1e6).toFixed(6)
}

function formatIp({ service, ttl }: Packet): string[] {
  return [
    ...(service === undefined ? [] : [`(${formatService(service)})`]),
    ...(ttl === undefined ? [] : [`(ttl ${ttl})`]),
  ]
}

function formatService(service: Service): string {
  return service.kind === 'ecn' ? service.name : `tos 0x${service.value.toString(16).padStart(2, '0')}`
}

function formatRest(packet: Packet): string[] {
  switch (packet.kind) {
    case 'tcp': {
      const { flags, start, length, ack, window, urgent, options } = packet
      return [
        ...formatPorts(packet.ports),
        flags === '' ? '-' : flags,
        formatRange(start, length),
        ...(flags.includes('.') ? [`ack ${ack}`] : []),
        ...(window === undefined ? [] : [`win ${window}`]),
        ...(urgent === 0 ? [] : [`urg ${urgent}`]),
        ...(options === 'any' ? ['<...>'] : options.length === 0 ? [] : [`<${options.map(formatOption).join(',')}>`]),
      ]
    }
    case 'udp':
      return ['udp', ...formatPorts(packet.ports), `(${packet.length})`]
    default: {
      const { type, code, mtu, id, quoted } = packet
      return [
        ...['icmp', type],
        ...(code === undefined ? [] : [code]),
        ...(mtu === undefined ? [] : [`mtu ${mtu}`]),
        ...(id === undefined ? [] : [`id ${id}`]),
        ...(quoted === undefined ? [] : [`[${formatQuoted(quoted)}]`]),
      ]
    }
  }
}

function formatQuoted({ protocol, start, length }: { protocol: 'tcp' | 'udp'; start: number; length: number }): string {
  return protocol === 'udp' ? `udp (${length})` : formatRange(start, length)
}

function formatPorts(ports: { readonly source: number; readonly target: number } | undefined): string[] {
  return ports === undefined ? [] : [`${ports.source}>${ports.target}`]
}

function formatRange(start: number, length: number): string {
  return `${start}:${(start + length) % 2 ** 32}(${length})`
}

export function formatOption(option: TcpOption): string {
  switch (option.kind) {
    case 'mss':
    case 'wscale':
      return `${option.kind} ${option.value}`
    case 'TS':
      return `TS val ${option.value} ecr ${option.echo}`
    case 'sack':
      return `sack ${option.blocks.map(([start, end]) => `${start}:${end}`).join(' ')}`
    default:
      return option.kind
  }
}
