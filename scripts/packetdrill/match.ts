// Whether the host has sent what the script says, by packetdrill's rules: a window that is not written down is not looked at, nor are
// timestamps unless the script says how fast they run; options have to be the same ones in the same order.
import type { Actual } from './actual.ts'
import { serviceByte } from './encode.ts'
import { formatOption } from './notation.ts'
import type { IcmpPacket, Packet, Service, TcpOption, TcpPacket, UdpPacket } from './script.ts'

export interface Rules {
  /** A step of outbound timestamps, µs; 0: timestamps are not compared. */
  readonly timestampTickUs: number
  /** How far they may be off, µs. */
  readonly toleranceUs: number
  /**
   * The window scale need not be the script's, which says how large the host's buffers can be; nor PSH of what is not empty, which shows
   * where a Linux has cut its writes for the card.
   */
  readonly isLoose: boolean
}

/** The first difference as a sentence, or undefined. */
export function difference(expected: Packet, actual: Actual, rules: Rules): string | undefined {
  if (expected.kind !== actual.packet.kind) return `${expected.kind} is expected, and not ${actual.packet.kind}`
  return (
    ofService(expected.service, actual.service) ??
    (expected.ttl === undefined ? undefined : differs('ttl', expected.ttl, actual.ttl)) ??
    ofTransport(expected, actual.packet, rules)
  )
}

/**
 * Whether a segment goes on where another one ends, so that both may be what the script has as one.
 * @returns why it does not, or undefined
 */
export function discontinuity(before: TcpPacket, next: TcpPacket): string | undefined {
  const flags = (packet: TcpPacket) => packet.flags.replace(/[FPW]/g, '')
  return (
    differs('sequence number', before.start + before.length, next.start) ??
    differs('flags', flags(before), flags(next)) ??
    differs('ack', before.ack, next.ack) ??
    differs('win', before.window ?? 0, next.window ?? 0) ??
    differs('urg', before.urgent, next.urgent)
  )
}

function ofService(expected: Service | undefined, actual: number): string | undefined {
  if (expected === undefined) return undefined
  if (expected.kind === 'whole') return differs('tos', expected.value, actual)
  if (expected.name === 'ect01') {
    return (actual & 3) === 1 || (actual & 3) === 2
      ? undefined
      : `ECN is expected to be ect0 or ect1, and is ${actual & 3}`
  }
  return differs('ECN', serviceByte(expected), actual & 3)
}

function ofTransport(expected: Packet, actual: Packet, rules: Rules): string | undefined {
  if (expected.kind === 'tcp') return ofTcp(expected, actual as TcpPacket, rules)
  if (expected.kind === 'udp') return differs('length', expected.length, (actual as UdpPacket).length)
  return ofIcmp(expected, actual as IcmpPacket)
}

function ofTcp(expected: TcpPacket, actual: TcpPacket, rules: Rules): string | undefined {
  const ignorePush = rules.isLoose && expected.length > 0
  const sorted = (flags: string) => [...(ignorePush ? flags.replace('P', '') : flags)].sort().join('')
  return (
    (sorted(expected.flags) === sorted(actual.flags) ? undefined : differs('flags', expected.flags, actual.flags)) ??
    differs('sequence number', expected.start, actual.start) ??
    differs('length', expected.length, actual.length) ??
    (expected.flags.includes('.') ? differs('ack', expected.ack, actual.ack) : undefined) ??
    (expected.window === undefined ? undefined : differs('win', expected.window, actual.window ?? 0)) ??
    differs('urg', expected.urgent, actual.urgent) ??
    ofOptions(expected.options, actual.options as readonly TcpOption[], rules)
  )
}

function ofOptions(
  expected: readonly TcpOption[] | 'any',
  actual: readonly TcpOption[],
  rules: Rules,
): string | undefined {
  if (expected === 'any') return undefined
  const kinds = (options: readonly TcpOption[]) => options.map(({ kind }) => kind).join(',')
  const other = differs('options', `<${kinds(expected)}>`, `<${kinds(actual)}>`)
  if (other !== undefined) return other
  for (const [i, option] of expected.entries()) {
    const found = ofOption(option, actual[i]!, rules)
    if (found !== undefined) return found
  }
  return undefined
}

function ofOption(expected: TcpOption, actual: TcpOption, rules: Rules): string | undefined {
  if (expected.kind === 'wscale' && actual.kind === 'wscale' && rules.isLoose) return undefined
  if (expected.kind !== 'TS' || actual.kind !== 'TS')
    return differs('option', formatOption(expected), formatOption(actual))
  const { timestampTickUs, toleranceUs } = rules
  if (timestampTickUs === 0) return undefined
  const steps = Math.abs((expected.value - actual.value) | 0)
  if (steps * timestampTickUs > toleranceUs) return differs('TS val', expected.value, actual.value)
  // An echo is of a number that the script has sent itself: there is nothing to be tolerant about.
  return differs('TS ecr', expected.echo, actual.echo)
}

function ofIcmp(expected: IcmpPacket, actual: IcmpPacket): string | undefined {
  const { id, code, quoted } = expected
  return (
    differs('type', expected.type, actual.type) ??
    (code === undefined ? undefined : differs('code', code, actual.code ?? '0')) ??
    (id === undefined ? undefined : differs('id', id, actual.id ?? 0)) ??
    (quoted === undefined ? undefined : ofQuoted(quoted, actual.quoted))
  )
}

function ofQuoted(
  expected: NonNullable<IcmpPacket['quoted']>,
  actual: IcmpPacket['quoted'] | undefined,
): string | undefined {
  if (actual === undefined) return 'the ICMP message quotes no packet'
  return (
    differs('quoted protocol', expected.protocol, actual.protocol) ??
    differs('quoted sequence number', expected.start, actual.start) ??
    differs('quoted length', expected.length, actual.length)
  )
}

function differs(what: string, expected: string | number, actual: string | number): string | undefined {
  return expected === actual ? undefined : `${what} is expected to be ${expected}, and is ${actual}`
}
