// What every CPU runs in test/disciplines.test.ts: two hosts that both have all CPUs, joined by a wire with a queue for each. One program of
// the server takes all connections; the client's programs on all CPUs open them, send what is checked byte by byte when it comes
// back, and close, some by a reset.
import type { WireOptions, WireSide } from '../src/device/wire.ts'
import { type Cpu, counterSet, type Thread, total } from '../src/kernel.ts'
import type { Discipline } from '../src/net/discipline.ts'
import type { Layer } from '../src/net/policy.ts'
import type { TcpSocket } from '../src/socket/tcpsocket.ts'
import { type HostConfig, Stack } from '../src/stack.ts'

export const ConversationCounters = counterSet('conversation', [
  'ready',
  'opened',
  'echoed',
  'bytes',
  'reset',
  'failed',
  'wrong',
  /** CPUs whose conversations are all over. */
  'finished',
  /** Changes of a host's discipline. */
  'changed',
  /** CPUs that have had some more turns since all were, in which they have taken in what others freed. */
  'rested',
] as const)
const C = ConversationCounters.index

export interface ConversationData {
  readonly discipline: Discipline
  readonly groups?: number
  readonly cpus: number
  /** Of each CPU's client, and how many of them at a time. */
  readonly conversations: number
  readonly atOnce: number
  /** Every CPU changes the discipline of one of the hosts each so many µs; 0: none does. */
  readonly changeEveryUs?: number
  /** Boundaries that are queues with threads of their own. Default none. */
  readonly layers?: readonly Layer[]
}

const VARIANTS = [
  ['giant', undefined],
  ['connp-t', undefined],
  ['connp-l', 3],
  ['msgp', undefined],
  ['connp-t', undefined],
  ['connp-l', undefined],
  ['msgp', undefined],
  ['giant', undefined],
  ['connp-l', 64],
] as const

const PORT = 7
const SERVER = '10.0.0.2'
const CLIENT = '10.0.0.1'
/** Every eighth conversation ends by a reset in its middle. */
const RESET_EVERY = 8
const BYTES_MAX = 60_000
const REST_TURNS = 10
const REST_US = 10_000
const PATTERN = Uint8Array.from({ length: 65_521 }, (_, i) => (i * 31 + (i >>> 8) * 7) & 255)

export function wireOf(cpus: number): WireOptions {
  const all = Array.from({ length: cpus }, (_, i) => i)
  return { name: 'wire0', a: all, b: all, entries: 4096 }
}

export default function program(cpu: Cpu, data: ConversationData): void {
  const { cpus, discipline, groups, layers = [] } = data
  const own = Array.from({ length: cpus }, (_, i) => i)
  const host = (name: string, index: number, side: WireSide, address: string): HostConfig => ({
    name,
    index,
    cpus: own,
    discipline,
    layers,
    ...(groups === undefined ? {} : { groups }),
    interfaces: [{ name: 'wire0', device: { kind: 'wire', wire: wireOf(cpus), side }, addresses: [`${address}/24`] }],
  })
  const server = new Stack(cpu, host('server', 0, 'b', SERVER))
  const client = new Stack(cpu, host('client', 1, 'a', CLIENT))
  const count = client.context.count(ConversationCounters)
  cpu.threads.start('hosts', function* (thread) {
    yield* server.start(thread)
    yield* client.start(thread)
    if (cpu.index === 0) {
      let isListening = false
      listen(server, () => {
        isListening = true
      })
      yield* thread.until(() => isListening)
    }
    count[C.ready]!++
    // Where nobody listens yet, the first attempts are refused and made again.
    converse(client, count, data)
    yield* change(thread, [server, client], count, data)
  })
}

/** Goes on until the machine stops. */
function* change(
  thread: Thread,
  hosts: readonly Stack[],
  count: Float64Array,
  { changeEveryUs = 0 }: ConversationData,
): Generator<void, void, void> {
  const { index } = thread.cpu
  for (let turn = index; changeEveryUs > 0; turn++) {
    yield* thread.delay(changeEveryUs)
    const [discipline, groups] = VARIANTS[turn % VARIANTS.length]!
    hosts[(turn + index) % hosts.length]!.setDiscipline(discipline, groups, (error) => {
      if (error === undefined) count[C.changed]!++
      else if (error.code !== 'EBUSY') throw error
    })
  }
}

/** Some more turns, when the last of all CPUs has finished. */
function rest(client: Stack, count: Float64Array, cpus: number): void {
  const { cpu } = client.context
  let left = REST_TURNS
  const turn = () => {
    if (total(cpu.memory, ConversationCounters, 'finished') === cpus) left--
    if (left > 0) cpu.timers.after(REST_US, turn)
    else count[C.rested]!++
  }
  turn()
}

function listen(server: Stack, ready: () => void): void {
  const buffer = new Uint8Array(16_384)
  server.tcp.listen({ port: PORT, backlog: 1024 }, (error, listener) => {
    if (error !== undefined) throw error
    listener.onConnection = (socket) => echo(socket, buffer)
    ready()
  })
}

/** Sends back all that comes, at the pace of the peer, and ends when it does. */
function echo(socket: TcpSocket, buffer: Uint8Array): void {
  let isDone = false
  const turn = () => {
    while (socket.readableBytes > 0 && socket.sendRoom > 0) {
      const bytes = socket.receive(buffer.subarray(0, Math.min(buffer.length, socket.sendRoom)))
      if (socket.send(buffer.subarray(0, bytes)) < bytes) throw new Error('the room that was told was not there')
    }
    // Asks to be told of room.
    if (socket.readableBytes > 0) socket.send(buffer.subarray(0, buffer.length))
    else if (socket.ended && !isDone) {
      isDone = true
      socket.close()
    }
  }
  socket.onReadable = turn
  socket.onWritable = turn
  socket.onError = () => socket.close()
}

function converse(client: Stack, count: Float64Array, { cpus, conversations, atOnce }: ConversationData): void {
  const { cpu } = client.context
  const buffer = new Uint8Array(16_384)
  let begun = 0
  let over = 0
  const next = () => {
    if (begun === conversations) return
    begin(begun++)
  }
  const begin = (number: number) => {
    const length = 1 + cpu.random.below(BYTES_MAX)
    const from = cpu.random.below(PATTERN.length)
    const abortsAt = number % RESET_EVERY === 0 ? Math.floor(length / 2) : Number.POSITIVE_INFINITY
    let sent = 0
    let received = 0
    const socket = client.tcp.connect({ address: SERVER, port: PORT })
    let isOver = false
    const finish = () => {
      if (isOver) return
      isOver = true
      over++
      if (over === conversations) {
        count[C.finished]!++
        rest(client, count, cpus)
      }
      next()
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
      if (errno !== 0) {
        socket.close()
        isOver = true
        // The listener is not known everywhere yet.
        begin(number)
        return
      }
      count[C.opened]!++
      fill()
    }
    socket.onWritable = fill
    socket.onReadable = () => {
      for (let bytes = socket.receive(buffer); bytes > 0; bytes = socket.receive(buffer)) {
        for (let i = 0; i < bytes; i++) {
          if (buffer[i] !== PATTERN[(from + received + i) % PATTERN.length]) count[C.wrong]!++
        }
        received += bytes
        count[C.bytes]! += bytes
        if (received >= abortsAt) {
          count[C.reset]!++
          socket.abort()
          return finish()
        }
      }
      if (!socket.ended) return
      if (received === length) count[C.echoed]!++
      else count[C.wrong]!++
      socket.close()
      finish()
    }
    socket.onError = () => {
      count[C.failed]!++
      socket.close()
      finish()
    }
  }
  for (let i = 0; i < atOnce; i++) next()
}
