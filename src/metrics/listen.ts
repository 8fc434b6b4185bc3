// Where an endpoint listens: on the kernel's network, by default on loopback alone.
import { isIP, isIPv6 } from 'node:net'

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/**
 * `127.0.0.1:9464`, `[::1]:9464`, `localhost:9464`; a port alone, `9464` or `:9464`, is loopback's: to be reached by others must be
 * written out. Undefined where it is none of these. Other names are refused: what they mean may change.
 */
export function parseListen(text: string): ListenAddress | undefined {
  const match = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const port = Number(match[2])
  if (port > 65535) return undefined
  const given = match[1] ?? ''
  if (given === '' || given === 'localhost') return { host: '127.0.0.1', port }
  const isBracketed = given.startsWith('[')
  const host = isBracketed ? given.slice(1, -1) : given
  if (isIP(host) === 0 || isIPv6(host) !== isBracketed) return undefined
  return { host, port }
}

/** Whether only programs of this computer reach it there. */
export function isLoopback(host: string): boolean {
  return host === '::1' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(host)
}

export function formatListen({ host, port }: ListenAddress): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}
