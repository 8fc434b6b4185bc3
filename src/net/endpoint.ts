// An address and a port, its bytes in the machine's memory: made once, used for many packets.
import type { Address } from '../base/struct.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { type Family, formatAddress, parseAddress } from './address.ts'

export interface Endpoint {
  readonly family: Family
  /** Where the 4 or 16 bytes of the address lie. */
  readonly address: Address
  readonly port: number
  /** Gives its memory back. */
  free(): void
}

/** @throws KernelError EINVAL where `text` is no address */
export function endpoint(cpu: Cpu, text: string, port: number): Endpoint {
  const { family, bytes } = parseAddress(text)
  const room = cpu.slab.allocate(64)
  cpu.memory.u8.set(bytes, room + 16)
  return { family, address: room + 16, port, free: () => cpu.slab.free(room) }
}

/** `10.0.0.1:7`, for people. */
export function formatEndpoint(u8: Uint8Array, family: Family, address: Address, port: number): string {
  const text = formatAddress(family, u8, address)
  return family === 6 ? `[${text}]:${port}` : `${text}:${port}`
}
