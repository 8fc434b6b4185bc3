// What the two CPUs of bench/message.ts run. CPU 0 is the source, CPU 1 the target.
import { getHeapStatistics } from 'node:v8'
import { type Address, type Cpu, f64, message, NULL_PORT, Plain, type Port, type Thread } from '../src/kernel.ts'

export type Mode = 'ring' | 'reused' | 'freed' | 'call'

/** Written to the region "result" by CPU 0, as doubles: when `finished` is 1 the others are valid. */
export const Result = { finished: 0, elapsedUs: 1, heapBytes: 2, targetHeapBytes: 3 } as const

/** Messages under way at most: what a real sender's window or pool would be. */
const WINDOW = 2048

const Call = message('bench.call', { argument: f64 })

interface Data {
  readonly mode: Mode
  readonly count: number
}

export default function program(cpu: Cpu, data: Data): void {
  const result = cpu.memory.layout.region('result').address >> 3
  if (data.mode === 'ring') {
    const ring = new BareRing(cpu.memory.i32, cpu.memory.layout.region('ring').address)
    cpu.threads.start('ring', (thread) =>
      cpu.index === 0 ? ring.send(thread, data.count, result) : ring.receive(thread, data.count),
    )
  } else if (cpu.index === 1) target(cpu, data, result)
  else cpu.threads.start('source', (thread) => source(thread, data, result))
}

function target(cpu: Cpu, data: Data, result: number): void {
  const call = Call.cursor(cpu.memory)
  const heap = new HeapMeter()
  let received = 0
  cpu.ports.create({
    name: 'target',
    handler: (m) => {
      if (data.mode === 'call') {
        call.at = m
        call.argument += 1
      }
      if ((++received & 0xfffff) === 0) cpu.memory.f64[result + Result.targetHeapBytes] = heap.measure()
      return 0
    },
  })
}

function* source(thread: Thread, data: Data, result: number): Generator<void, void, void> {
  const { cpu } = thread
  yield* thread.until(() => cpu.ports.find('target') !== undefined)
  const port = cpu.ports.lookup('target')
  const heap = new HeapMeter()
  const began = cpu.clock.now()
  if (data.mode === 'call') yield* calls(thread, port, data.count)
  else if (data.mode === 'reused') yield* reused(thread, port, data.count)
  else yield* freed(thread, port, data.count)
  cpu.memory.f64[result + Result.elapsedUs] = cpu.clock.now() - began
  cpu.memory.f64[result + Result.heapBytes] = heap.measure()
  cpu.memory.f64[result + Result.finished] = 1
}

/** Messages that their sender has for itself, and sends again when they are done: nothing is allocated. */
function* reused(thread: Thread, port: number, count: number): Generator<void, void, void> {
  const { ports, slab } = thread.cpu
  const pool = Int32Array.from({ length: WINDOW }, () => ports.allocate(Plain, NULL_PORT))
  let sent = 0
  while (sent < count) {
    // They are done in the order in which they were sent: the last of sixteen speaks for all.
    for (let burst = 0; burst < 16 && sent < count && ports.isDone(pool[(sent + 15) & (WINDOW - 1)]!); burst++) {
      for (let i = 0; i < 16; i++) ports.send(port, pool[sent++ & (WINDOW - 1)]!)
    }
    yield* thread.pause()
  }
  yield* thread.until(() => pool.every((m) => ports.isDone(m)))
  for (const m of pool) slab.free(m)
}

/** Messages that are freed by their receiver: their memory comes home by the slab. */
function* freed(thread: Thread, port: number, count: number): Generator<void, void, void> {
  const { cpu } = thread
  let sent = 0
  while (sent < count) {
    if (cpu.slab.live > WINDOW) cpu.slab.collect()
    const burst = Math.min(256, count - sent)
    if (cpu.slab.live <= WINDOW) {
      for (let i = 0; i < burst; i++) cpu.ports.send(port, cpu.ports.allocate(Plain))
      sent += burst
    }
    yield* thread.pause()
  }
  yield* thread.until(() => {
    cpu.slab.collect()
    return cpu.slab.live === 0
  })
}

/** Calls whose answers come back to a port, many under way at once. */
function* calls(thread: Thread, target: number, count: number): Generator<void, void, void> {
  const { cpu } = thread
  const call = Call.cursor(cpu.memory)
  let issued = 0
  let done = 0
  const reply: Port = cpu.ports.create({
    onReply: (m: Address) => {
      done++
      if (issued < count) {
        issued++
        cpu.ports.send(target, m)
      } else cpu.slab.free(m)
    },
  })
  while (issued < 256) {
    const m = cpu.ports.allocate(Call, reply.id)
    call.at = m
    call.argument = 0
    issued++
    cpu.ports.send(target, m)
  }
  yield* thread.until(() => done >= count)
  cpu.ports.close(reply)
}

/** Bytes that V8 allocated, as far as sampling sees them: what a collection takes away is not counted twice. */
class HeapMeter {
  #last = getHeapStatistics().used_heap_size
  #allocated = 0

  measure(): number {
    const used = getHeapStatistics().used_heap_size
    if (used > this.#last) this.#allocated += used - this.#last
    this.#last = used
    return this.#allocated
  }
}

/** The limit: the same 32-byte entries in the same memory, published by sixteens, and nothing else. */
class BareRing {
  static readonly entries = 256
  readonly #words: Int32Array
  readonly #windex: number
  readonly #rindex: number
  readonly #first: number

  constructor(words: Int32Array, address: Address) {
    this.#words = words
    this.#windex = address >> 2
    this.#rindex = (address + 64) >> 2
    this.#first = (address + 128) >> 2
  }

  *send(thread: Thread, count: number, result: number): Generator<void, void, void> {
    const { memory, clock } = thread.cpu
    const began = clock.now()
    const words = this.#words
    let sent = 0
    while (sent < count) {
      while (sent - Atomics.load(words, this.#rindex) > BareRing.entries - 16) {
        // The other CPU reads: nothing to do but to look again.
      }
      for (let i = 0; i < 16; i++, sent++) {
        const at = this.#first + (sent & (BareRing.entries - 1)) * 8
        words[at] = 1
        words[at + 1] = sent
        words[at + 2] = 0
        words[at + 3] = 0
      }
      Atomics.store(words, this.#windex, sent)
    }
    yield* thread.until(() => Atomics.load(words, this.#rindex) === sent)
    memory.f64[result + Result.elapsedUs] = clock.now() - began
    memory.f64[result + Result.finished] = 1
  }

  *receive(thread: Thread, count: number): Generator<void, void, void> {
    const words = this.#words
    let read = 0
    let sum = 0
    const end = Math.ceil(count / 16) * 16
    while (read < end) {
      const windex = Atomics.load(words, this.#windex)
      while (read < windex) {
        const at = this.#first + (read & (BareRing.entries - 1)) * 8
        sum += words[at]! + words[at + 1]! + words[at + 2]! + words[at + 3]!
        read++
        if ((read & 15) === 0) Atomics.store(words, this.#rindex, read)
      }
    }
    yield* thread.until(() => sum !== 0)
  }
}
