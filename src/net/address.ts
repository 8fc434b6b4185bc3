// IP addresses of both families. On hot paths an address is never a number and never an object: it is
// `(family, address of its bytes)`, in network order, wherever the bytes lie in the machine's memory.
// Text and `Uint8Array` forms are for configuration, errors and printing, and allocate.
//
// Anyone may call; nothing here blocks or keeps state.
import { assert } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'

/** The two families, numbered as the version field of their headers. */
export const Family = { inet: 4, inet6: 6 } as const
export type Family = (typeof Family)[keyof typeof Family]

/** An address outside the machine's memory. */
export interface ParsedAddress {
  readonly family: Family
  /** 4 or 16, network order. */
  readonly bytes: Uint8Array
}

/** An address and how many of its leading bits name the network. The bits behind them are kept as given. */
export interface Prefix extends ParsedAddress {
  /** In bits: 0..32 or 0..128. */
  readonly length: number
}

const longestText = 'ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255'.length

/** How many bytes an address of `family` has. */
export function addressBytes(family: Family): 4 | 16 {
  return family === Family.inet ? 4 : 16
}

/**
 * `'10.77.0.2'` or `'fe80::1'`. Four decimal numbers without leading zeros (`010` would be eight to some and ten to
 * others, RFC 6943 3.1.1), or any of the forms of RFC 4291 2.2; no zone.
 * @throws KernelError EINVAL
 */
export function parseAddress(text: string): ParsedAddress {
  const address = tryAddress(text)
  if (address === undefined)
    throw new KernelError(
      Errno.EINVAL,
      `${quote(text)} is not an IP address: expected four numbers 0 to 255 without leading zeros, like 10.77.0.2, or an IPv6 address without a zone, like fe80::1`,
    )
  return address
}

/**
 * `'10.77.0.2/24'` or `'fd00::2/64'`. The bits behind the prefix may be set, as in an interface's own address:
 * `networkBytes` clears them. @rfc 1122 3.2.2.9/reasonable
 * @throws KernelError EINVAL
 */
export function parsePrefix(text: string): Prefix {
  const slash = text.indexOf('/')
  const address = slash < 0 ? undefined : tryAddress(text.slice(0, slash))
  const digits = text.slice(slash + 1)
  const length = /^(0|[1-9][0-9]{0,2})$/.test(digits) ? Number(digits) : Number.NaN
  if (address === undefined || !(length <= addressBytes(address.family) * 8))
    throw new KernelError(
      Errno.EINVAL,
      `${quote(text)} is not a prefix: expected an IP address, a slash and how many of its bits name the network (at most 32 or 128), like 10.77.0.2/24`,
    )
  return { family: address.family, bytes: address.bytes, length }
}

/** The text of the address at `address`: dotted quad, or RFC 5952's one spelling of an IPv6 address. */
export function formatAddress(family: Family, u8: Uint8Array, address: Address): string {
  return family === Family.inet ? formatInet(u8, address) : formatInet6(u8, address)
}

/** A copy of `bytes` in which every bit behind the first `length` is 0. */
export function networkBytes(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, index) => byte & maskByte(length, index))
}

/**
 * The address that reaches everybody on `prefix`, at configuration time; `undefined` where there is none:
 * for IPv6, for a single address, and for the two ends of a link (RFC 3021).
 */
export function directedBroadcast(prefix: Prefix): Uint8Array | undefined {
  if (prefix.family !== Family.inet || prefix.length > 30) return undefined
  return prefix.bytes.map((byte, index) => byte | (~maskByte(prefix.length, index) & 0xff))
}

/** Whether the addresses at `a` and `b`, both of `family`, are the same. */
export function equalAddress(u8: Uint8Array, a: Address, b: Address, family: Family): boolean {
  for (let index = addressBytes(family) - 1; index >= 0; index--) if (u8[a + index] !== u8[b + index]) return false
  return true
}

/** Whether the first `bits` bits at `a` and `b` are the same. Reads no byte behind them. */
export function maskEqual(u8: Uint8Array, a: Address, b: Address, bits: number): boolean {
  assert(bits >= 0 && bits <= 128, 'a mask has 0 to 128 bits')
  const whole = bits >>> 3
  for (let index = 0; index < whole; index++) if (u8[a + index] !== u8[b + index]) return false
  const rest = bits & 7
  return rest === 0 || (u8[a + whole]! ^ u8[b + whole]!) >>> (8 - rest) === 0
}

/** 0.0.0.0 or ::, "this host, which does not know its address yet". */
export function isUnspecified(u8: Uint8Array, family: Family, address: Address): boolean {
  for (let index = addressBytes(family) - 1; index >= 0; index--) if (u8[address + index] !== 0) return false
  return true
}

/** 127.0.0.0/8 (RFC 1122 3.2.1.3) or ::1 (RFC 4291 2.5.3). Must never come from a wire. */
export function isLoopback(u8: Uint8Array, family: Family, address: Address): boolean {
  if (family === Family.inet) return u8[address] === 127
  for (let index = 0; index < 15; index++) if (u8[address + index] !== 0) return false
  return u8[address + 15] === 1
}

/** 224.0.0.0/4 (RFC 1112) or ff00::/8 (RFC 4291 2.7). */
export function isMulticast(u8: Uint8Array, family: Family, address: Address): boolean {
  return family === Family.inet ? (u8[address]! & 0xf0) === 0xe0 : u8[address] === 0xff
}

/** 255.255.255.255. IPv6 has no broadcast. */
export function isBroadcast(u8: Uint8Array, family: Family, address: Address): boolean {
  return family === Family.inet && (u8[address]! & u8[address + 1]! & u8[address + 2]! & u8[address + 3]!) === 0xff
}

/** 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 2.5.6). */
export function isLinkLocal(u8: Uint8Array, family: Family, address: Address): boolean {
  if (family === Family.inet) return u8[address] === 169 && u8[address + 1] === 254
  return u8[address] === 0xfe && (u8[address + 1]! & 0xc0) === 0x80
}

/** The byte at `index` of a mask of `length` leading ones. */
function maskByte(length: number, index: number): number {
  const bits = length - index * 8
  if (bits >= 8) return 0xff
  return bits <= 0 ? 0 : (0xff00 >>> bits) & 0xff
}

function tryAddress(text: string): ParsedAddress | undefined {
  if (text.length > longestText) return undefined
  const family = text.includes(':') ? Family.inet6 : Family.inet
  const bytes = family === Family.inet ? parseInet(text) : parseInet6(text)
  return bytes && { family, bytes: Uint8Array.from(bytes) }
}

function parseInet(text: string): number[] | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const bytes = parts.map((part) => (/^(0|[1-9][0-9]{0,2})$/.test(part) ? Number(part) : 256))
  return bytes.every((byte) => byte < 256) ? bytes : undefined
}

function parseInet6(text: string): number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!, halves.length === 1)
  const tail = parseGroups(halves[1] ?? '', true)
  if (head === undefined || tail === undefined) return undefined
  // '::' stands for at least one group (RFC 4291 2.2).
  const missing = 16 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined
  return [...head, ...new Array<number>(missing).fill(0), ...tail]
}

/** The bytes of groups joined by colons; the last may be a dotted quad where it ends the address. */
function parseGroups(text: string, endsAddress: boolean): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [index, group] of groups.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16)
      bytes.push(value >>> 8, value & 0xff)
      continue
    }
    const quad = endsAddress && index === groups.length - 1 ? parseInet(group) : undefined
    if (quad === undefined) return undefined
    bytes.push(...quad)
  }
  return bytes
}

function formatInet(u8: Uint8Array, address: Address): string {
  return `${u8[address]}.${u8[address + 1]}.${u8[address + 2]}.${u8[address + 3]}`
}

function formatInet6(u8: Uint8Array, address: Address): string {
  const groups: number[] = []
  for (let index = 0; index < 16; index += 2) groups.push((u8[address + index]! << 8) | u8[address + index + 1]!)
  const run = longestZeroRun(groups)
  const mapped = run.start === 0 && run.count === 5 && groups[5] === 0xffff
  // RFC 5952 5: the IPv4 part is spelled as one where the prefix says that it is one.
  if (mapped) return `::ffff:${formatInet(u8, address + 12)}`
  const text = groups.map((group) => group.toString(16))
  // RFC 5952 4.2.2: '::' never stands for a single group.
  if (run.count < 2) return text.join(':')
  return `${text.slice(0, run.start).join(':')}::${text.slice(run.start + run.count).join(':')}`
}

/** The longest run of zero groups, the first of equals (RFC 5952 4.2.3). */
function longestZeroRun(groups: readonly number[]): { start: number; count: number } {
  let longest = { start: 0, count: 0 }
  let count = 0
  for (const [index, group] of groups.entries()) {
    count = group === 0 ? count + 1 : 0
    if (count > longest.count) longest = { start: index - count + 1, count }
  }
  return longest
}

/** What the caller gave, shortened, so that an error's sentence stays a sentence. */
function quote(text: string): string {
  return `'${text.length > 64 ? `${text.slice(0, 64)}…` : text}'`
}
