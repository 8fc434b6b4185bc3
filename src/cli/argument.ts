// Checks of single arguments: each says what was given and what was expected.
import { KernelError } from '../base/errno.ts'
import { formatAddress, type Prefix, parsePrefix } from '../net/address.ts'
import { UsageError } from './usage.ts'

/** What an option takes: its bounds, and its value when it is not given. */
interface Range {
  readonly low: number
  readonly high: number
  readonly fallback: number
}

/** A whole number within a range. */
export function wholeNumber(
  option: string,
  text: string | undefined,
  low: number,
  high: number,
  fallback: number,
): number {
  return numberIn({ low, high, fallback }, option, text, /^\d+$/, 'a whole number')
}

/** A decimal number within a range. */
export function decimalNumber(
  option: string,
  text: string | undefined,
  low: number,
  high: number,
  fallback: number,
): number {
  return numberIn({ low, high, fallback }, option, text, /^\d*\.?\d+$/, 'a number')
}

function numberIn(
  { low, high, fallback }: Range,
  option: string,
  text: string | undefined,
  form: RegExp,
  what: string,
): number {
  if (text === undefined) return fallback
  const value = Number(text)
  if (!form.test(text) || value < low || value > high) {
    throw new UsageError(`--${option} is "${text}": give ${what} from ${low} to ${high}`)
  }
  return value
}

/** The shortest prefix: a net of more than one first byte would have addresses that no host can have. */
const PREFIX_BITS_MIN = 8

/** An IPv4 address with its prefix length, of a host and not of the net or of all. */
export function hostPrefix(option: string, text: string): Prefix {
  let prefix: Prefix
  try {
    prefix = parsePrefix(text)
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    throw new UsageError(`--${option} is "${text}": give an IPv4 address with its prefix length, like 10.77.0.2/24`)
  }
  if (prefix.family !== 4) throw new UsageError(`--${option} is "${text}": give an IPv4 address, like 10.77.0.2/24`)
  if (prefix.length < PREFIX_BITS_MIN) {
    throw new UsageError(`--${option} is "${text}": give a prefix of ${PREFIX_BITS_MIN} to 32 bits, like 10.77.0.2/24`)
  }
  const value = toNumber(prefix.bytes)
  const hosts = hostsOf(prefix)
  if (prefix.length < 31 && (value % hosts === 0 || value % hosts === hosts - 1)) {
    throw new UsageError(
      `--${option} is "${text}", the address of the whole net or its broadcast: give one of a host in it`,
    )
  }
  const first = prefix.bytes[0]!
  if (first === 0 || first === 127 || first >= 224) {
    throw new UsageError(
      `--${option} is "${text}", which no host can have on a network: give a unicast address, like 10.77.0.2/24`,
    )
  }
  return prefix
}

/** The first address of a prefix that a host can have and that is not the given one; what the kernel's end gets. */
export function neighbour(prefix: Prefix): string {
  if (prefix.length === 32) {
    throw new UsageError('--address has a prefix of 32 bits, with no room for the kernel: give a shorter one, like /24')
  }
  const own = toNumber(prefix.bytes)
  const net = own - (own % hostsOf(prefix))
  const first = prefix.length < 31 ? net + 1 : net
  const other = first === own ? first + 1 : first
  const bytes = Uint8Array.from([24, 16, 8, 0], (shift) => Math.floor(other / 2 ** shift) & 255)
  return `${formatAddress(4, bytes, 0)}/${prefix.length}`
}

/** Whether each lies in the other's net: without a router they reach each other only then. */
export function areNeighbours(a: Prefix, b: Prefix): boolean {
  const hosts = Math.min(hostsOf(a), hostsOf(b))
  return Math.floor(toNumber(a.bytes) / hosts) === Math.floor(toNumber(b.bytes) / hosts)
}

/** How many addresses a net has. */
function hostsOf(prefix: Prefix): number {
  return 2 ** (32 - prefix.length)
}

function toNumber(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0)
}
