// What the two CPUs of the workload "message" run. CPU 0 sends, CPU 1 takes.
import { type Cpu, NULL_PORT, Plain, type PortId, type Thread } from '../../kernel.ts'
import { Settling, warmUpOf } from '../settle.ts'

/** Written to the region "result" by CPU 0, as doubles: when `finished` is 1 the others are valid. */
export const Result = { finished: 0, elapsedUs: 1, messages: 2, allMessages: 3 } as const

/** Messages under way at most: what a real sender's window or pool would be. */
export const WINDOW = 256

interface Data {
  readonly way: 'one-way' | 'call'
  readonly batch: number
  readonly seconds: number
}

export default function program(cpu: Cpu, data: Data): void {
  if (cpu.index === 1) cpu.ports.create({ name: 'target', handler: () => 0 })
  else cpu.threads.start('source', (thread) => source(thread, data))
}

function* source(thread: Thread, { way, batch, seconds }: Data): Generator<void, void, void> {
  const { cpu } = thread
  yield* thread.until(() => cpu.ports.find('target') !== undefined)
  const sender = new Sender(cpu, cpu.ports.lookup('target'), way === 'call' ? batch : WINDOW)
  const before = yield* warmUp(thread, sender, batch, seconds)
  const { messages, elapsedUs } = yield* send(thread, sender, batch, seconds * 1e6)
  yield* thread.until(() => sender.isIdle)
  sender.free()
  const result = cpu.memory.layout.region('result').address >> 3
  cpu.memory.f64[result + Result.elapsedUs] = elapsedUs
  cpu.memory.f64[result + Result.messages] = messages
  cpu.memory.f64[result + Result.allMessages] = messages + before
  cpu.memory.f64[result + Result.finished] = 1
}

/** Until the code is compiled, and the slab has its zones. Returns how many messages that took. */
function* warmUp(thread: Thread, sender: Sender, batch: number, seconds: number) {
  const { stretch, least, most } = warmUpOf(seconds)
  const settling = new Settling(least)
  let all = 0
  let spent = 0
  for (;;) {
    const { messages, elapsedUs } = yield* send(thread, sender, batch, stretch * 1e6)
    all += messages
    spent += elapsedUs / 1e6
    if (settling.add(messages / elapsedUs, spent) || spent >= most) return all
  }
}

/** Sends batches for so long, one each turn at most. */
function* send(thread: Thread, sender: Sender, batch: number, us: number) {
  const { clock } = thread.cpu
  const began = clock.now()
  let messages = 0
  let now = began
  while (now - began < us) {
    if (sender.canSend(batch)) {
      sender.send(batch)
      messages += batch
    }
    yield* thread.pause()
    now = clock.now()
  }
  return { messages, elapsedUs: now - began }
}

/** A ring of messages that the sender has for itself, and sends again when they are done: nothing is allocated. */
class Sender {
  readonly #cpu: Cpu
  readonly #target: PortId
  readonly #pool: Int32Array
  #sent = 0

  /** `window` is how many are under way at most: with that of one batch, each batch waits for the answers of the last. */
  constructor(cpu: Cpu, target: PortId, window: number) {
    this.#cpu = cpu
    this.#target = target
    this.#pool = Int32Array.from({ length: window }, () => cpu.ports.allocate(Plain, NULL_PORT))
  }

  /** They are done in the order in which they were sent: the last one speaks for all. */
  canSend(batch: number): boolean {
    return this.#cpu.ports.isDone(this.#pool[(this.#sent + batch - 1) % this.#pool.length]!)
  }

  send(batch: number): void {
    for (let i = 0; i < batch; i++) {
      this.#cpu.ports.send(this.#target, this.#pool[this.#sent++ % this.#pool.length]!)
    }
  }

  get isIdle(): boolean {
    return this.#pool.every((message) => this.#cpu.ports.isDone(message))
  }

  free(): void {
    for (const message of this.#pool) this.#cpu.slab.free(message)
  }
}
