// A conversation with an echo-server.ts, on the stack's own sockets: what is sent comes back, and every byte is looked at. Some are ended by a
// reset in their middle, by this end or by a server that ends.
import { Errno } from '../../src/base/errno.ts'
import type { Random } from '../../src/base/random.ts'
import type { Stack } from '../../src/stack.ts'
import { KEEP_ALIVE } from './echo-server.ts'

export interface Target {
  readonly address: string
  readonly port: number
}

/** How one ended: as it was to; before it began, for its port was in use; because the other end was not there, or not any more; or as it must not. */
export type Ending = 'whole' | 'busy' | 'cut' | 'wrong'

const PATTERN = Uint8Array.from({ length: 65_521 }, (_, i) => (i * 31 + (i >>> 8) * 7) & 255)
const BUFFER_BYTES = 16_384
const ABORTED = 0.1
/** Of those that ask for a port of their own: then the connection belongs to any CPU, and not to its program's. */
const ELSEWHERE = 0.5
const FIRST_PORT = 20_000
const PORTS = 20_000

/** Begins one; `over` is called once, when this end is closed. */
export function talk(stack: Stack, target: Target, random: Random, most: number, over: (ending: Ending) => void): void {
  const length = 1 + random.below(random.chance(0.1) ? most : 1 + (most >> 4))
  const from = random.below(PATTERN.length)
  const abortsAt = random.chance(ABORTED) ? length >> 1 : Number.POSITIVE_INFINITY
  const localPort = random.chance(ELSEWHERE) ? FIRST_PORT + random.below(PORTS) : 0
  const buffer = new Uint8Array(BUFFER_BYTES)
  let sent = 0
  let received = 0
  let ending: Ending = 'whole'
  let isOver = false
  const socket = stack.tcp.connect({ ...target, localPort })
  const end = (how: Ending, by: 'close' | 'abort' = 'close') => {
    if (isOver) return
    isOver = true
    ending = how
    socket[by]()
  }
  const fill = () => {
    while (sent < length) {
      const at = (from + sent) % PATTERN.length
      const bytes = PATTERN.subarray(at, Math.min(PATTERN.length, at + length - sent))
      const taken = socket.send(bytes)
      sent += taken
      if (taken < bytes.length) return
    }
    socket.shutdown()
  }
  socket.onConnect = (errno) => {
    if (errno === 0) {
      socket.setKeepAlive(KEEP_ALIVE.delayMs, KEEP_ALIVE.intervalMs, KEEP_ALIVE.count)
      return fill()
    }
    // The port is in use, or was a minute ago: another conversation has another one.
    if (errno === Errno.EADDRINUSE) end('busy')
    else end(errno === Errno.ECONNREFUSED || errno === Errno.ECONNRESET ? 'cut' : 'wrong')
  }
  socket.onWritable = fill
  socket.onReadable = () => {
    for (let bytes = socket.receive(buffer); bytes > 0; bytes = socket.receive(buffer)) {
      for (let i = 0; i < bytes; i++) {
        if (buffer[i] !== PATTERN[(from + received + i) % PATTERN.length]) return end('wrong', 'abort')
      }
      received += bytes
      if (received >= abortsAt) return end('whole', 'abort')
    }
    if (socket.ended) end(received === length ? 'whole' : 'wrong')
  }
  socket.onError = (errno) => end(errno === Errno.ECONNRESET ? 'cut' : 'wrong')
  socket.onClosed = () => over(ending)
}
