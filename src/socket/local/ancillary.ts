// What is sent along with a message (cmsg(3)): rights, the sender's credentials, its name, and its stack. One mbuf of the packet:
//
//   | flags 2 | rights 2 | cpu 4 | thread 4 | name 2 | address 2 | trace 4 | pad 4 | rights, 16 each | name | address | trace |
import type { Address } from '../../base/struct.ts'
import { Mbuf } from '../../device/mbuf.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import type { PortId } from '../../kernel/port.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { decodeChain } from '../../kernel/trace/wire.ts'
import { LOCAL_KINDS, type LocalAddress, type LocalCredentials, type LocalKind } from './kind.ts'
import type { Packets } from './packet.ts'

/** A right, as a message has it. Whoever has the message has the right, and nobody else. */
export type Right =
  | ({ readonly type: 'socket'; readonly kind: LocalKind } & LocalAddress)
  | ({ readonly type: 'port'; readonly port: PortId } & LocalAddress)

/** What is sent along with one message. */
export interface Ancillary {
  readonly rights: readonly Right[]
  readonly credentials: LocalCredentials | undefined
  /** The name that the sender is bound to, of a datagram. */
  readonly from: string | undefined
  /** An encoded chain (kernel/trace/wire.ts). */
  readonly trace: Uint8Array | undefined
}

const HEADER = 24
const RIGHT = 16
const HAS_CREDENTIALS = 1
const HAS_FROM = 2
const HAS_TRACE = 4
const TYPES = ['socket', 'port'] as const
const DATA = Mbuf.offset.data >> 2
const NONE = new Uint8Array(0)

/** The bytes of it; undefined where nothing is sent along. */
export function encodeAncillary({ rights, credentials, from, trace }: Ancillary): Uint8Array | undefined {
  if (rights.length === 0 && credentials === undefined && from === undefined && trace === undefined) return undefined
  const name = credentials === undefined ? NONE : Buffer.from(credentials.name)
  const address = from === undefined ? NONE : Buffer.from(from)
  const traced = trace ?? NONE
  const texts = HEADER + rights.length * RIGHT
  const bytes = new Uint8Array(texts + name.length + address.length + traced.length)
  const view = new DataView(bytes.buffer)
  const flags = (credentials && HAS_CREDENTIALS) ?? 0
  view.setUint16(0, flags | (from === undefined ? 0 : HAS_FROM) | (trace === undefined ? 0 : HAS_TRACE))
  view.setUint16(2, rights.length)
  view.setUint32(4, credentials?.cpu ?? 0)
  view.setInt32(8, credentials?.thread ?? 0)
  view.setUint16(12, name.length)
  view.setUint16(14, address.length)
  view.setUint32(16, traced.length)
  rights.forEach((right, i) => {
    const at = HEADER + i * RIGHT
    view.setUint32(at, TYPES.indexOf(right.type))
    view.setUint32(at + 4, right.cpu)
    view.setUint32(at + 8, right.id)
    view.setUint32(at + 12, right.type === 'socket' ? LOCAL_KINDS.indexOf(right.kind) : right.port)
  })
  bytes.set(name, texts)
  bytes.set(address, texts + name.length)
  bytes.set(traced, texts + name.length + address.length)
  return bytes
}

function decode(bytes: Uint8Array): Ancillary {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const flags = view.getUint16(0)
  const rights = Array.from({ length: view.getUint16(2) }, (_, i): Right => {
    const at = HEADER + i * RIGHT
    const address = { cpu: view.getUint32(at + 4), id: view.getUint32(at + 8) }
    const value = view.getUint32(at + 12)
    return TYPES[view.getUint32(at)] === 'socket'
      ? { type: 'socket', kind: LOCAL_KINDS[value]!, ...address }
      : { type: 'port', port: value, ...address }
  })
  const texts = HEADER + rights.length * RIGHT
  const address = texts + view.getUint16(12)
  const trace = address + view.getUint16(14)
  const text = (from: number, to: number) => new TextDecoder().decode(bytes.subarray(from, to))
  const credentials = { cpu: view.getUint32(4), thread: view.getInt32(8), name: text(texts, address) }
  return {
    rights,
    credentials: (flags & HAS_CREDENTIALS) === 0 ? undefined : credentials,
    from: (flags & HAS_FROM) === 0 ? undefined : text(address, trace),
    trace: (flags & HAS_TRACE) === 0 ? undefined : bytes.subarray(trace),
  }
}

/** Reads what is sent along with a packet, which has something. */
export function readAncillary(cpu: Cpu, packets: Packets, ancillary: Address): Ancillary {
  const bytes = new Uint8Array(cpu.memory.u32[(ancillary + Mbuf.offset.length) >> 2]!)
  cpu.memory.transfer.toProgram(packets.words[(ancillary >> 2) + DATA]!, bytes.length, bytes, 0)
  return decode(bytes)
}

/** The sender's stack; undefined where none came, or what came is none. */
export function traceOf(ancillary: Ancillary | undefined): Chain | undefined {
  return ancillary?.trace === undefined ? undefined : decodeChain(ancillary.trace)
}
