// Loads on the stack's own sockets, for a CPU program that is the client of src/lab/tun/service.ts.
import { errnoName } from '../src/base/errno.ts'
import { counterSet } from '../src/kernel.ts'
import { MESSAGE_BYTES, Service } from '../src/lab/tun/peer.ts'
import type { Block } from '../src/lab/tun/service.ts'
import type { TcpSocket } from '../src/socket/tcpsocket.ts'
import type { Stack } from '../src/stack.ts'

/** `connected` and `ended` count connections, `bytes` what a bulk server was given or gave, `exchanges` answered questions. */
export const LoadCounters = counterSet('bench', ['connected', 'ended', 'bytes', 'exchanges'] as const)
const C = LoadCounters.index

/** Handshakes under way: a backlog holds as many. */
const CONNECTING_MAX = 256

/**
 * Opens `count` connections, a few at a time, each to the next of `ports`, and calls `each` for one that is open. What
 * ends of itself afterwards is counted; a connection that cannot be opened is the bench's own failure.
 */
export function connectMany(
  stack: Stack,
  address: string,
  ports: readonly number[],
  count: number,
  each: (socket: TcpSocket) => void,
): void {
  const counts = stack.context.count(LoadCounters)
  let begun = 0
  const next = () => {
    if (begun === count) return
    const socket = stack.tcp.connect({ address, port: ports[begun++ % ports.length]!, noDelay: true })
    socket.onConnect = (errno) => {
      if (errno !== 0) throw new Error(`connection ${begun} of ${count}: ${errnoName(errno)}`)
      counts[C.connected]!++
      each(socket)
      next()
    }
    socket.onError = (_errno) => {
      counts[C.ended]!++
      socket.close()
    }
  }
  for (let i = 0; i < Math.min(CONNECTING_MAX, count); i++) next()
}

/** Sends to the service sink for as long as it takes. */
export function bulkOut(stack: Stack, address: string, connections: number, block: Block): void {
  const counts = stack.context.count(LoadCounters)
  connectMany(stack, address, [Service.sink], connections, (socket) => {
    const fill = () => {
      let sent: number
      do {
        sent = socket.send(block.bytes)
        counts[C.bytes]! += sent
      } while (sent === block.bytes.length)
    }
    socket.onWritable = fill
    fill()
  })
}

/** Asks the service echo, one question at a time on each connection. */
export function exchange(stack: Stack, address: string, connections: number, block: Block): void {
  const counts = stack.context.count(LoadCounters)
  const question = block.first(MESSAGE_BYTES)
  connectMany(stack, address, [Service.echo], connections, (socket) => {
    let answered = 0
    socket.onReadable = () => {
      for (let length = socket.receive(block.bytes); length > 0; length = socket.receive(block.bytes))
        answered += length
      if (answered < MESSAGE_BYTES) return
      answered -= MESSAGE_BYTES
      counts[C.exchanges]!++
      socket.send(question)
    }
    socket.send(question)
  })
}
