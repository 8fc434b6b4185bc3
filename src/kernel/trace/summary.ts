// What a packet in a capture says of itself, in one line: its number, by which `damselfly trace --packet` finds its life; what made it; who has
// written it, and where in the source; and the packet that it answers, by that one's number.
//
//     damselfly trace 0x0000002a: segment from tcp port 80, to port 5000; written by cpu 1 at server.ts:12:5; after packet 0x00000012
//     from wire0, 132.1 µs before
//
// Few hops are looked at, whatever the chain; their stacks are read once for each place of a program (reader.ts).
import { durationText, type HopKind } from './chain.ts'
import type { ChainReader, HopReading } from './reader.ts'
import type { TraceId } from './record.ts'

/** Hops that are looked at. */
const HOPS_MAX = 12

/** As it is given to `damselfly trace --packet`, and read there. */
export function traceIdText(id: TraceId): string {
  return `0x${id.toString(16).padStart(8, '0')}`
}

/** Undefined where nothing is known of it any more. */
export function traceSummary(reader: ChainReader, id: TraceId): string | undefined {
  const { hops } = reader.chain(id, HOPS_MAX)
  const latest = hops[0]
  if (latest === undefined) return undefined
  const own = ownHops(hops)
  const { kind, to } = own.find((hop) => MADE.has(hop.kind)) ?? latest
  const parts = [`${WORDS[kind] ?? kind} ${to}`]
  const writer = own.find((hop) => hop.frames.length > 0 && (hop.kind === 'datagram' || hop.point === 'snd'))
  if (writer !== undefined) {
    const { file, line, column } = writer.frames[0]!
    parts.push(`written by cpu ${writer.cpu} at ${file.slice(file.lastIndexOf('/') + 1)}:${line}:${column}`)
  }
  const cause = hops[own.length]
  if (cause?.kind === 'packet') {
    const ago = durationText(latest.atUs - cause.atUs)
    parts.push(`after packet ${traceIdText(cause.id)} from ${cause.to}, ${ago} before`)
  } else if (cause?.kind === 'transmit') parts.push(`transmitted as ${traceIdText(cause.id)} to ${cause.to}`)
  return `damselfly trace ${traceIdText(id)}: ${parts.join('; ')}`
}

/** Those of the packet itself: back to the packet that it answers, or of one that came to what sent it. */
function ownHops(hops: readonly HopReading[]): readonly HopReading[] {
  if (hops[0]!.kind === 'packet') return hops.slice(0, 1)
  const end = hops.findIndex(({ kind }) => kind === 'packet')
  return end < 0 ? hops : hops.slice(0, end)
}

/** What a packet was made at, or came from. */
const WORDS: Partial<Record<HopKind, string>> = {
  packet: 'packet from',
  datagram: 'datagram from',
  segment: 'segment from',
  retransmit: 'segment sent again from',
  transmit: 'transmitted to',
}
const MADE: ReadonlySet<HopKind> = new Set(['packet', 'datagram', 'segment', 'retransmit'])
