// The services of src/lab/tun/c/server.c on the stack: a CPU program that makes a Stack and serves by its sockets directly,
// on the CPU itself. What one CPU reads goes through one scratch buffer; nothing is allocated per message.
import type { Cpu } from '../../kernel.ts'
import { HostCounters } from '../../net/counters.ts'
import type { TcpSocket } from '../../socket/tcpsocket.ts'
import { type HostConfig, Stack } from '../../stack.ts'
import { MESSAGE_BYTES, Service } from './peer.ts'

export interface ServiceData {
  readonly host: HostConfig
}

const BLOCK_BYTES = 256 * 1024

export default function program(cpu: Cpu, { host }: ServiceData): void {
  if (!host.cpus.includes(cpu.index)) return
  const stack = new Stack(cpu, host)
  cpu.threads.start(`${host.name} starts`, function* (thread) {
    yield* stack.start(thread)
    let listening = 0
    const services = serveAll(stack, () => listening++)
    yield* thread.until(() => listening === services)
    stack.context.count(HostCounters)[HostCounters.index.ready]!++
  })
}

/** Opens all services on this CPU; `ready` is called for each. How many they are. */
export function serveAll(stack: Stack, ready: () => void): number {
  const block = new Block()
  const services: readonly (readonly [number, (socket: TcpSocket) => void])[] = [
    [Service.echo, (socket) => echo(socket, block)],
    [Service.sink, (socket) => sink(socket, block)],
    [Service.source, (socket) => source(socket, block)],
    [Service.short, (socket) => short(socket, block)],
  ]
  for (const [port, serve] of services) {
    stack.tcp.listen({ port, perCpu: true, noDelay: true, backlog: 4096 }, (error, listener) => {
      if (error !== undefined) throw error
      listener.onConnection = serve
      ready()
    })
  }
  return services.length
}

/** Scratch of a CPU, with its beginnings: a view made for each message would be garbage. */
export class Block {
  readonly bytes = new Uint8Array(BLOCK_BYTES)
  readonly #small: Uint8Array[] = Array.from({ length: 2049 }, (_, length) => this.bytes.subarray(0, length))

  first(length: number): Uint8Array {
    return length < this.#small.length ? this.#small[length]! : this.bytes.subarray(0, length)
  }
}

function echo(socket: TcpSocket, block: Block): void {
  /** What the send buffer did not take: as long as there is some, nothing more is read. */
  let held: Uint8Array | undefined
  const pump = () => {
    while (held === undefined) {
      const length = socket.receive(block.bytes)
      if (length === 0) break
      const sent = socket.send(block.first(length))
      if (sent < length) held = block.bytes.slice(sent, length)
    }
    if (held === undefined && socket.ended) socket.close()
  }
  socket.onReadable = pump
  socket.onWritable = () => {
    if (held === undefined) return
    const sent = socket.send(held)
    held = sent < held.length ? held.subarray(sent) : undefined
    pump()
  }
  closeOnError(socket)
}

function sink(socket: TcpSocket, block: Block): void {
  socket.onReadable = () => {
    while (socket.receive(block.bytes) > 0);
    if (socket.ended) socket.close()
  }
  closeOnError(socket)
}

function source(socket: TcpSocket, block: Block): void {
  const fill = () => {
    while (socket.send(block.bytes) === block.bytes.length);
  }
  socket.onReadable = () => {
    while (socket.receive(block.bytes) > 0);
    if (socket.ended) socket.close()
  }
  socket.onWritable = fill
  closeOnError(socket)
  fill()
}

function short(socket: TcpSocket, block: Block): void {
  let received = 0
  socket.onReadable = () => {
    for (let length = socket.receive(block.bytes); length > 0; length = socket.receive(block.bytes)) received += length
    if (received >= MESSAGE_BYTES) socket.send(block.first(MESSAGE_BYTES))
    if (received >= MESSAGE_BYTES || socket.ended) socket.close()
  }
  closeOnError(socket)
}

/** The connection is gone; its socket is still to be given back. */
function closeOnError(socket: TcpSocket): void {
  socket.onError = () => socket.close()
}
