// A UDP client on the kernel's own sockets that is fast enough to load a TUN device: sendmmsg and recvmmsg, 32 datagrams
// a call, with a window of datagrams on their way. It spins, on a core of its own. Prints one line of JSON.
//
//   node udp-client.js --target 10.77.0.2 --port 7777 --seconds 2 --window 256 --batch 32 --payload 64
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { assert } from '../src/base/assert.ts'
import { libc } from '../src/device/linux/library.ts'

const AF_INET = 2
const SOCK_DGRAM = 2
const SOL_SOCKET = 1
const SO_RCVBUF = 8
const MSG_DONTWAIT = 0x40
const EAGAIN = 11

/** struct mmsghdr and struct iovec on 64-bit Linux. */
const MMSGHDR_BYTES = 64
const IOVEC_BYTES = 16
const RECEIVE_BYTES = 2048

/** Datagrams that have not come back when nothing arrived for this long are lost. */
const LOST_MS = 100
/** Before the counting begins: the time in which code is compiled. */
const WARM_MS = 500

export interface UdpClientResult {
  readonly packetsPerSecond: number
  readonly sent: number
  readonly received: number
  readonly lost: number
  readonly elapsedMs: number
  /** Of the client's process, in the time counted: user and system. */
  readonly cpuMs: number
  /** Part of the client's time in which it was not looking for what had not come yet. Below 1, the other side is the limit. */
  readonly busy: number
}

export interface UdpClientOptions {
  readonly target: string
  readonly port: number
  readonly seconds: number
  /** Datagrams on their way at most. A TUN queue holds 500. */
  readonly window: number
  readonly batch: number
  readonly payloadBytes: number
}

export function udpClient(options: UdpClientOptions): UdpClientResult {
  const { batch, window, payloadBytes } = options
  const system = libc()
  const sendmmsg = system.declare('int sendmmsg(int, uintptr_t, unsigned int, int)')
  const recvmmsg = system.declare('int recvmmsg(int, uintptr_t, unsigned int, int, uintptr_t)')
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: 8, maximum: 8 }).buffer)
  const base = system.pointer(memory)
  const socket = connectedSocket(options, memory, base)

  const headers = 4096
  const vectors = headers + 2 * batch * MMSGHDR_BYTES
  const payload = vectors + 2 * batch * IOVEC_BYTES
  const received = payload + payloadBytes
  assert(received + batch * RECEIVE_BYTES <= memory.length, 'the memory of the client holds a batch')
  const view = new DataView(memory.buffer)
  for (let index = 0; index < 2 * batch; index++) {
    const sends = index < batch
    const vector = vectors + index * IOVEC_BYTES
    const data = sends ? payload : received + (index - batch) * RECEIVE_BYTES
    view.setBigUint64(vector, BigInt(base + data), true)
    view.setBigUint64(vector + 8, BigInt(sends ? payloadBytes : RECEIVE_BYTES), true)
    // msghdr: name 0, name length 0, iov at 16, its count at 24
    view.setBigUint64(headers + index * MMSGHDR_BYTES + 16, BigInt(base + vector), true)
    view.setBigUint64(headers + index * MMSGHDR_BYTES + 24, 1n, true)
  }
  const sendAt = base + headers
  const receiveAt = sendAt + batch * MMSGHDR_BYTES

  const emptyMs = costOfNothing(() => recvmmsg(socket, receiveAt, batch, MSG_DONTWAIT, 0))
  let onTheWay = 0
  let lost = 0
  let total = 0
  let count = 0
  let empty = 0
  let heardMs = performance.now()
  /** Sends and receives until `endMs`. */
  const run = (endMs: number) => {
    for (;;) {
      if (window - onTheWay >= batch) {
        const result = sendmmsg(socket, sendAt, batch, MSG_DONTWAIT)
        assert(result >= 0 || result === -EAGAIN, 'the client can send')
        if (result > 0) {
          onTheWay += result
          total += result
        }
      }
      const result = recvmmsg(socket, receiveAt, batch, MSG_DONTWAIT, 0)
      const nowMs = performance.now()
      if (nowMs >= endMs) return
      if (result > 0) {
        count += result
        onTheWay = Math.max(0, onTheWay - result)
        heardMs = nowMs
        continue
      }
      assert(result === -EAGAIN, 'the client can receive')
      empty++
      if (nowMs - heardMs > LOST_MS) {
        lost += onTheWay
        onTheWay = 0
        heardMs = nowMs
      }
    }
  }

  run(performance.now() + WARM_MS)
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  total = count = empty = lost = 0
  run(startMs + options.seconds * 1000)
  const elapsedMs = performance.now() - startMs
  const { user, system: inKernel } = process.cpuUsage(cpu)
  system.close(socket)
  return {
    packetsPerSecond: Math.round((count / elapsedMs) * 1000),
    sent: total,
    received: count,
    lost,
    elapsedMs: Math.round(elapsedMs),
    cpuMs: Math.round((user + inKernel) / 1000),
    busy: Math.max(0, 1 - (empty * emptyMs) / elapsedMs),
  }
}

function connectedSocket({ target, port }: UdpClientOptions, memory: Uint8Array, base: number): number {
  const system = libc()
  const socket = system.socket(AF_INET, SOCK_DGRAM, 0)
  assert(socket >= 0, 'the operating system gives a socket')
  const view = new DataView(memory.buffer)
  view.setUint16(0, AF_INET, true)
  view.setUint16(2, port)
  memory.set(target.split('.').map(Number), 4)
  const connect = system.declare('int connect(int, uintptr_t, unsigned int)')
  assert(connect(socket, base, 16) === 0, 'the client has a route to its target')
  view.setUint32(16, 4 * 1024 * 1024, true)
  system.declare('int setsockopt(int, int, int, uintptr_t, unsigned int)')(socket, SOL_SOCKET, SO_RCVBUF, base + 16, 4)
  return socket
}

/** What one look costs that finds nothing, in ms, with the clock that goes with it. */
export function costOfNothing(look: () => number): number {
  const rounds = 20_000
  for (let index = 0; index < rounds; index++) look()
  const startMs = performance.now()
  let sum = 0
  for (let index = 0; index < rounds; index++) {
    look()
    sum += performance.now()
  }
  assert(sum > 0, 'the clock runs')
  return (performance.now() - startMs) / rounds
}

if (fileURLToPath(import.meta.url) === process.argv[1]) {
  const { values } = parseArgs({
    options: {
      target: { type: 'string', default: '10.77.0.2' },
      port: { type: 'string', default: '7777' },
      seconds: { type: 'string', default: '2' },
      window: { type: 'string', default: '256' },
      batch: { type: 'string', default: '32' },
      payload: { type: 'string', default: '64' },
    },
  })
  const result = udpClient({
    target: values.target,
    port: Number(values.port),
    seconds: Number(values.seconds),
    window: Number(values.window),
    batch: Number(values.batch),
    payloadBytes: Number(values.payload),
  })
  console.log(JSON.stringify(result))
}
