// The names that scripts have for the types and codes of ICMP (RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1).
import { lookUp } from './table.ts'

export const IcmpTypes: { readonly [name: string]: number } = {
  echo_reply: 0,
  unreachable: 3,
  source_quench: 4,
  redirect: 5,
  echo_request: 8,
  time_exceeded: 11,
  parameter_problem: 12,
  timestamp_request: 13,
  timestamp_reply: 14,
  information_request: 15,
  information_reply: 16,
  address_mask_request: 17,
  address_mask_reply: 18,
}

const UNREACHABLE: { readonly [name: string]: number } = {
  net_unreachable: 0,
  host_unreachable: 1,
  protocol_unreachable: 2,
  port_unreachable: 3,
  frag_needed: 4,
  source_route_failed: 5,
  net_unknown: 6,
  host_unknown: 7,
  source_host_isolated: 8,
  net_prohibited: 9,
  host_prohibited: 10,
  net_unreachable_for_tos: 11,
  host_unreachable_for_tos: 12,
  packet_filtered: 13,
  precedence_violation: 14,
  precedence_cutoff: 15,
}

/** The number of a code's name, or of a number; undefined where there is none. */
export function icmpCode(type: number, name: string | undefined): number | undefined {
  if (name === undefined) return 0
  if (/^\d+$/.test(name)) return Number(name)
  return type === IcmpTypes.unreachable ? lookUp(UNREACHABLE, name) : undefined
}

export function icmpTypeName(type: number): string {
  return nameOf(IcmpTypes, type)
}

export function icmpCodeName(type: number, code: number): string {
  return type === IcmpTypes.unreachable ? ` ${nameOf(UNREACHABLE, code)}` : code === 0 ? '' : ` ${code}`
}

function nameOf(names: { readonly [name: string]: number }, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? String(value)
}
