// The packets of a load device, made once: a queue copies one into an mbuf and patches what differs. A template has the
// client's address and port and the sequence numbers as 0, so that by equation 3 of RFC 1624 with m = 0 its checksums are
// brought up to date by adding what is put in: `ipSum` and `sum` are the sums before their complement is taken.
import { pseudoHeaderSum } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import type { Memory } from '../../kernel/memory.ts'
import { IP_BYTES, PROTOCOL_TCP, PROTOCOL_UDP, TCP_BYTES, Tcp, UDP_BYTES } from './header.ts'
import type { LoadPlan } from './options.ts'

/** Room for a template: for an mbuf's worth. */
export const TEMPLATE_BYTES = 2048
/** Room for so many. */
export const TEMPLATES = 4

export interface Template {
  readonly address: Address
  readonly length: number
  /** Sequence numbers that its sending takes. */
  readonly sequences: number
  readonly ipSum: number
  readonly sum: number
}

export interface Templates {
  readonly syn: Template
  readonly acknowledgment: Template
  /** A question, a segment of bulk, or a datagram. */
  readonly data: Template
  readonly fin: Template
}

/** DF: no fragments, and so no identification either (RFC 6864). */
const DONT_FRAGMENT = 0x4000
const TTL = 64
/** Maximum segment size, and the window scale behind an option that does nothing. */
const SYN_OPTION_BYTES = 8

/** Makes a queue's templates at `address`, which has room for TEMPLATES. */
export function makeTemplates(memory: Memory, address: Address, plan: LoadPlan): Templates {
  const { ACK, SYN, FIN, PSH } = Tcp
  const at = (index: number) => address + index * TEMPLATE_BYTES
  const bytes = plan.workload === 'bulk-in' ? plan.segmentBytes : plan.bytes
  return {
    syn: tcp(memory, at(0), plan, SYN, SYN_OPTION_BYTES, 0),
    acknowledgment: tcp(memory, at(1), plan, ACK, 0, 0),
    data: plan.workload === 'udp' ? udp(memory, at(2), plan) : tcp(memory, at(2), plan, ACK | PSH, 0, bytes),
    fin: tcp(memory, at(3), plan, ACK | FIN, 0, 0),
  }
}

function tcp(
  memory: Memory,
  address: Address,
  plan: LoadPlan,
  flags: number,
  optionBytes: number,
  payload: number,
): Template {
  const { view } = memory
  const headerBytes = TCP_BYTES + optionBytes
  const length = IP_BYTES + headerBytes + payload
  ipHeader(memory, address, plan, PROTOCOL_TCP, length)
  const header = address + IP_BYTES
  const isSyn = (flags & Tcp.SYN) !== 0
  view.setUint16(header + 2, plan.port)
  view.setUint8(header + 12, (headerBytes >> 2) << 4)
  view.setUint8(header + 13, flags)
  // The window of a SYN is never scaled (RFC 7323 2.2).
  view.setUint16(header + 14, isSyn ? Math.min(plan.windowBytes, 65535) : plan.windowBytes >>> plan.windowShift)
  if (isSyn) {
    view.setUint32(header + 20, (2 << 24) | (4 << 16) | plan.segmentBytes)
    view.setUint32(header + 24, (1 << 24) | (3 << 16) | (3 << 8) | plan.windowShift)
  }
  fillPayload(memory, header + headerBytes, payload, plan.question)
  const sequences = payload + (flags & (Tcp.SYN | Tcp.FIN) ? 1 : 0)
  return { address, length, sequences, ...sums(memory, address, PROTOCOL_TCP, length) }
}

function udp(memory: Memory, address: Address, plan: LoadPlan): Template {
  const { view } = memory
  const length = IP_BYTES + UDP_BYTES + plan.bytes
  ipHeader(memory, address, plan, PROTOCOL_UDP, length)
  view.setUint16(address + IP_BYTES + 2, plan.port)
  view.setUint16(address + IP_BYTES + 4, UDP_BYTES + plan.bytes)
  fillPayload(memory, address + IP_BYTES + UDP_BYTES, plan.bytes, '')
  // The time when it is put in.
  view.setUint32(address + IP_BYTES + UDP_BYTES, 0)
  return { address, length, sequences: 1, ...sums(memory, address, PROTOCOL_UDP, length) }
}

function ipHeader({ view }: Memory, address: Address, plan: LoadPlan, protocol: number, length: number): void {
  view.setUint16(address, 0x4500)
  view.setUint16(address + 2, length)
  view.setUint16(address + 6, DONT_FRAGMENT)
  view.setUint8(address + 8, TTL)
  view.setUint8(address + 9, protocol)
  view.setUint32(address + 16, plan.server)
}

/** The text, or where it is empty numbers. */
function fillPayload({ u8 }: Memory, address: Address, count: number, text: string): void {
  for (let i = 0; i < count; i++) u8[address + i] = text === '' ? i : text.charCodeAt(i)
}

function sums(
  { routines }: Memory,
  address: Address,
  protocol: number,
  length: number,
): Pick<Template, 'ipSum' | 'sum'> {
  const bytes = length - IP_BYTES
  const pseudo = pseudoHeaderSum(routines, address + 12, address + 16, 4, protocol, bytes)
  const whole = routines.sum(address + IP_BYTES, bytes, pseudo)
  return { ipSum: routines.sum(address, IP_BYTES, 0), sum: whole }
}
