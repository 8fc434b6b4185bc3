// Puts classes of ours where Node's net and dgram take theirs from, before those are loaded: they look once.
// For the preload alone; src/node/host.ts does without.
import { assert } from '../base/assert.ts'
import { binding, isLoaded } from './binding.ts'
import type { HandleHost } from './handle-host.ts'
import { TcpHandle } from './tcp-handle.ts'
import { UdpHandle } from './udp-handle.ts'

/**
 * From now on net and dgram, and all that is built on them, take their handles from here. The function that this gives says
 * which host's they are: to be called before the first is made. Undefined, and nothing is done, where they were loaded before.
 */
export function patch(): ((host: HandleHost) => void) | undefined {
  if (isLoaded('net') || isLoaded('dgram')) return undefined
  let host: HandleHost | undefined
  const standing = () => {
    assert(host !== undefined, 'the host stands before the first handle is made')
    return host
  }
  // Functions that give an object, and no classes of their own: so what a server accepts is an instance of its class as well.
  function TCP(type: number): TcpHandle {
    return new TcpHandle(standing(), type)
  }
  TCP.prototype = TcpHandle.prototype
  binding('tcp_wrap').TCP = TCP as never
  function UDP(): UdpHandle {
    return new UdpHandle(standing())
  }
  UDP.prototype = UdpHandle.prototype
  binding('udp_wrap').UDP = UDP as never
  return (stood) => {
    host = stood
  }
}

/**
 * Names are looked up as before, by the kernel's resolver; of what is found, addresses that the stack has come first. Else
 * "localhost" is ::1 where a program listens, or connects without trying several.
 */
export async function preferInet(): Promise<void> {
  const { setDefaultResultOrder } = await import('node:dns')
  setDefaultResultOrder('ipv4first')
}
