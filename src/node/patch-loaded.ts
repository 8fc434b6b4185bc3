// As patch.ts, where net is loaded before the preload: in a child with a channel to its parent, or by a `--require` before.
// What it has taken cannot be taken back; but the functions by which sockets and servers get a handle can be ours. For the preload.
import dgram, { type SocketOptions } from 'node:dgram'
import { syncBuiltinESMExports } from 'node:module'
import net, { type Socket } from 'node:net'
import { binding } from './binding.ts'
import type { HandleHost } from './handle-host.ts'
import { connectWith, setDatagramHandle, setListen } from './inside.ts'
import { TcpHandle } from './tcp-handle.ts'
import { UdpHandle } from './udp-handle.ts'

/** From now on sockets and servers of net and dgram get their handles here. A connection tries one address, and not several. */
export function patchLoaded(host: HandleHost): void {
  const { SERVER, SOCKET } = binding('tcp_wrap').constants
  const make = () => new TcpHandle(host, SOCKET)
  net.Socket.prototype.connect = connectWith(make, (connect) => connect()) as Socket['connect']
  setListen(net.Server.prototype, (address, port) => {
    const handle = new TcpHandle(host, SERVER)
    handle.bindLater(address, port)
    return handle
  })
  const { createSocket } = dgram
  const create = (options: SocketOptions, listener?: () => void) => {
    const socket = createSocket(options, listener)
    setDatagramHandle(socket, new UdpHandle(host))
    return socket
  }
  dgram.createSocket = create as typeof dgram.createSocket
  // For those who import it by its name.
  syncBuiltinESMExports()
}
