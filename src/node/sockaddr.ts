// Addresses as Node's handles take and tell them. For the handles.
import { KernelError } from '../base/errno.ts'
import { Family, formatAddress, parseAddress } from '../net/address.ts'
import { uvError } from './binding.ts'

/** All addresses of the host. */
export const ANY = '0.0.0.0'

/** What a target of 0.0.0.0 means, as on Linux: this host. */
export const LOOPBACK = '127.0.0.1'

/** What `getsockname` and its like fill in. */
export interface SocketAddress {
  address?: string
  family?: string
  port?: number
}

/** Fills `out` in, as the C++ side does. Returns 0, for handles to return. */
export function tell(out: SocketAddress, address: string, port: number): number {
  out.address = address
  out.family = 'IPv4'
  out.port = port
  return 0
}

/** The one spelling of an IPv4 address; undefined where it is none. */
export function inetAddress(text: string): string | undefined {
  try {
    const { family, bytes } = parseAddress(text)
    return family === Family.inet ? formatAddress(family, bytes, 0) : undefined
  } catch (error) {
    if (error instanceof KernelError) return undefined
    throw error
  }
}

/** The IPv4 address in one of IPv6 that stands for it, `::ffff:10.0.0.1`; undefined where there is none. */
export function mappedAddress(text: string): string | undefined {
  try {
    const { family, bytes } = parseAddress(text)
    const isMapped = family === Family.inet6 && bytes.subarray(0, 12).every((byte, i) => byte === (i < 10 ? 0 : 0xff))
    return isMapped ? formatAddress(Family.inet, bytes, 12) : undefined
  } catch (error) {
    if (error instanceof KernelError) return undefined
    throw error
  }
}

/** libuv's number of what a call of the stack threw. Anything else than a KernelError is a bug, and passes through. */
export function numberOf(error: unknown): number {
  if (error instanceof KernelError) return uvError(-error.errno)
  throw error
}
