// All that local sockets can do at random, on every CPU at once: what stress.test.ts runs in the simulation, on an event loop and on real
// threads. What a program has when its rounds are over it closes as a program's end does, in the middle of whatever the others do.
import { assert } from '../../../base/assert.ts'
import type { Cpu } from '../../../kernel/cpu.ts'
import type { Thread } from '../../../kernel/thread.ts'
import type { Chain } from '../../../kernel/trace/chain.ts'
import type { LocalDatagram } from '../datagram.ts'
import { LOCAL_KINDS } from '../kind.ts'
import type { LocalListener } from '../listener.ts'
import { LocalPort, type LocalRight } from '../right.ts'
import type { LocalSocket } from '../socket.ts'
import { LocalSockets } from '../sockets.ts'

export interface StressData {
  /** Things that each CPU does. */
  readonly rounds: number
}

/** Words of the region "local stress". */
export const WORD = { finished: 0, checkedBytes: 1, taken: 2, traces: 3 } as const
export const STRESS_BYTES = 64

const CHAIN: Chain = {
  hops: [{ kind: 'send', cpu: 0, to: 'stress', atUs: 1, id: 1, frames: [] }],
  end: 'origin',
}
const SOCKETS_MAX = 40

/** A stream that never moves, so that both ends know where in it they are. */
interface Checked {
  readonly socket: LocalSocket
  sent: number
  received: number
}

class Stress {
  readonly #cpu: Cpu
  readonly #local: LocalSockets
  readonly #rights: LocalRight[] = []
  readonly #listeners: LocalListener[] = []
  readonly #datagrams: LocalDatagram[] = []
  readonly #checked: Checked[] = []
  readonly #buffer = new Uint8Array(3000)
  #names = 0

  constructor(cpu: Cpu, local: LocalSockets) {
    this.#cpu = cpu
    this.#local = local
  }

  *run(thread: Thread, rounds: number): Generator<void, void, void> {
    yield* this.#local.start(thread)
    this.#listen(`/checked/${this.#cpu.index}`, true)
    this.#datagrams.push(this.#local.datagram({ name: `/datagram/${this.#cpu.index}`, ...this.#options() }))
    for (let i = 0; i < rounds; i++) {
      this.#act()
      if (this.#cpu.random.chance(0.3)) yield* thread.pause()
    }
    this.#local.closeAll()
    Atomics.add(this.#cpu.memory.i32, this.#word(WORD.finished), 1)
  }

  #act(): void {
    const { random } = this.#cpu
    const choice = random.below(100)
    if (choice < 6) this.#connect()
    else if (choice < 9) this.#pair()
    else if (choice < 11) this.#listen(`/${this.#cpu.index}/${this.#names++ % 4}`, false)
    else if (choice < 13) this.#makePort()
    else if (choice < 15) this.#connectDatagram()
    else if (choice < 19) this.#close()
    else if (choice < 22) this.#connectChecked()
    else if (choice < 50) this.#send()
    else if (choice < 78) this.#receive()
    else if (choice < 88) this.#sendDatagram()
    else if (choice < 96) this.#receiveDatagram()
    else this.#shutdown()
  }

  #options() {
    const { random } = this.#cpu
    return {
      receiveBytes: 200 + random.below(20_000),
      receiveMessages: 1 + random.below(20),
      stackTrace: random.chance(0.2),
      passCredentials: random.chance(0.2),
    }
  }

  #connect(): void {
    if (this.#rights.length >= SOCKETS_MAX) return
    const { random, cpus } = this.#cpu
    const kind = random.chance(0.5) ? 'stream' : 'seqpacket'
    const from = random.chance(0.2) ? { from: `/from/${random.below(8)}` } : {}
    const name = `/${random.below(cpus)}/${random.below(4)}`
    this.#rights.push(this.#local.connect({ name, kind, ...from, ...this.#options() }))
  }

  #connectChecked(): void {
    if (this.#checked.length >= SOCKETS_MAX) return
    const { random, cpus } = this.#cpu
    const name = `/checked/${random.below(cpus)}`
    this.#check(this.#local.connect({ name, kind: 'stream', ...this.#options() }))
  }

  #check(socket: LocalSocket): void {
    this.#checked.push({ socket, sent: 0, received: 0 })
  }

  #pair(): void {
    if (this.#rights.length >= SOCKETS_MAX) return
    this.#rights.push(...this.#local.pair(LOCAL_KINDS[this.#cpu.random.below(3)]!, this.#options()))
  }

  #listen(name: string, isChecked: boolean): void {
    const { random } = this.#cpu
    const kind = isChecked || random.chance(0.5) ? 'stream' : 'seqpacket'
    const listener = this.#local.listen({ name, kind, backlog: 1 + random.below(8), ...this.#options() })
    listener.onConnection = () => {
      for (let socket = listener.accept(); socket !== undefined; socket = listener.accept()) {
        if (isChecked) this.#check(socket)
        else this.#rights.push(socket)
      }
    }
    if (!isChecked) this.#listeners.push(listener)
  }

  #makePort(): void {
    if (this.#rights.length < SOCKETS_MAX) this.#rights.push(this.#local.portRight(99))
  }

  #connectDatagram(): void {
    const { random, cpus } = this.#cpu
    this.#datagrams.push(this.#local.datagram(random.chance(0.5) ? { name: `/any/${random.below(8)}` } : {}))
    const last = this.#datagrams[this.#datagrams.length - 1]!
    if (!last.closed && random.chance(0.5)) last.connect(`/datagram/${random.below(cpus)}`)
    if (this.#datagrams.length > 6) this.#datagrams.splice(1, 1)[0]!.close()
  }

  #close(): void {
    const { random } = this.#cpu
    if (random.chance(0.2)) this.#take(this.#listeners)?.close()
    if (random.chance(0.3)) this.#take(this.#checked)?.socket.close()
    this.#take(this.#rights)?.close()
  }

  #shutdown(): void {
    const one = this.#one(this.#rights)
    if (one === undefined || one instanceof LocalPort) return
    one.shutdown((['read', 'write', 'both'] as const)[this.#cpu.random.below(3)]!)
  }

  /** Some of what it has, to go along with a message. */
  #along(by: LocalSocket | LocalDatagram) {
    const { random } = this.#cpu
    const rights: LocalRight[] = []
    while (random.chance(0.15)) {
      const one = this.#one(this.#rights)
      if (one !== undefined && !rights.includes(one) && (one !== by || random.chance(0.2))) rights.push(one)
    }
    return { rights, credentials: random.chance(0.1), ...(random.chance(0.1) ? { stackTrace: CHAIN } : {}) }
  }

  #gave(rights: readonly LocalRight[], code: number): void {
    if (code < 0) return
    for (const right of rights) this.#rights.splice(this.#rights.indexOf(right), 1)
  }

  #send(): void {
    const { random } = this.#cpu
    const bytes = this.#buffer.subarray(0, random.below(random.chance(0.2) ? 3000 : 100))
    const checked = this.#one(this.#checked)
    if (checked !== undefined && random.chance(0.5)) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = (checked.sent + i) & 0xff
      const code = checked.socket.send(bytes)
      if (code > 0) checked.sent += code
      return
    }
    const socket = this.#one(this.#rights)
    if (socket === undefined || socket instanceof LocalPort) return
    const options = this.#along(socket)
    this.#gave(options.rights, socket.send(bytes, options))
  }

  #receive(): void {
    const { random, memory } = this.#cpu
    const target = this.#buffer.subarray(0, random.below(3000))
    const checked = this.#one(this.#checked)
    if (checked !== undefined && random.chance(0.5)) {
      const bytes = checked.socket.read(target)
      for (let i = 0; i < bytes; i++)
        assert(target[i] === ((checked.received + i) & 0xff), 'a stream is as it was sent')
      checked.received += bytes
      Atomics.add(memory.i32, this.#word(WORD.checkedBytes), bytes)
      return
    }
    const socket = this.#one(this.#rights)
    if (socket === undefined || socket instanceof LocalPort) return
    if (random.chance(0.1)) socket.read(target)
    else this.#took(socket.receive(target))
  }

  #took(message: ReturnType<LocalSocket['receive']>): void {
    if (message === undefined) return
    this.#rights.push(...message.rights)
    const { i32 } = this.#cpu.memory
    Atomics.add(i32, this.#word(WORD.taken), message.rights.length)
    if (message.stackTrace !== undefined) Atomics.add(i32, this.#word(WORD.traces), 1)
  }

  #sendDatagram(): void {
    const { random, cpus } = this.#cpu
    const socket = this.#one(this.#datagrams)
    if (socket === undefined) return
    const target = random.chance(0.2) ? `/any/${random.below(8)}` : `/datagram/${random.below(cpus)}`
    const options = this.#along(socket)
    const name = random.chance(0.3) ? undefined : target
    this.#gave(options.rights, socket.send(this.#buffer.subarray(0, random.below(500)), name, options))
  }

  #receiveDatagram(): void {
    this.#took(this.#one(this.#datagrams)?.receive(this.#buffer.subarray(0, this.#cpu.random.below(600))))
  }

  #one<T>(all: readonly T[]): T | undefined {
    return all[this.#cpu.random.below(all.length)]
  }

  #take<T>(all: T[]): T | undefined {
    return all.splice(this.#cpu.random.below(all.length), 1)[0]
  }

  #word(word: number): number {
    return (this.#cpu.memory.layout.region('local stress').address >> 2) + word
  }
}

export default function stress(cpu: Cpu, data: unknown): void {
  const { rounds } = data as StressData
  const local = new LocalSockets(cpu, { chainOf: () => CHAIN })
  cpu.threads.start('stress', (thread) => new Stress(cpu, local).run(thread, rounds))
}
