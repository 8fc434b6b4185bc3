// What the CPUs of bench/wire.ts run: CPU 0 sends packets of a fixed pool, CPU 1 sends back what it receives.
import type { Address } from '../src/base/struct.ts'
import { Mbufs } from '../src/device/mbuf.ts'
import { WireQueue } from '../src/device/wire.ts'
import type { Cpu, Thread } from '../src/kernel.ts'
import { SpscRing } from './wire-ring.ts'

export type Way = 'ring' | 'wire'

/** Written to the region "result" by CPU 0, as doubles: when `finished` is 1 the other is valid. */
export const Result = { finished: 0, elapsedUs: 1 } as const

/** Packets under way at most. */
export const WINDOW = 256

/** Bytes of a packet's data. */
export const PACKET_BYTES = 64

export interface Data {
  readonly way: Way
  /** Crossings, there and back counted each. */
  readonly count: number
  readonly entries: number
}

export default function program(cpu: Cpu, data: Data): void {
  const end = data.way === 'wire' ? wireEnd(cpu, data) : ringEnd(cpu, data)
  if (cpu.index === 0) cpu.threads.start('source', (thread) => source(thread, end, data))
  else cpu.threads.start('echo', (thread) => echo(thread, end))
}

/** What both ways can do. */
interface End {
  send(packet: Address): void
  receive(deliver: (packet: Address) => void): number
  flush(): void
}

function wireEnd(cpu: Cpu, { entries }: Data): End {
  const queue = new WireQueue(cpu, { name: 'bench', a: [0], b: [1], entries }, cpu.index === 0 ? 'a' : 'b')
  return {
    send: (packet) => void queue.transmit(packet),
    receive: (deliver) => queue.receive(64, deliver),
    flush: () => queue.flush(),
  }
}

function ringEnd(cpu: Cpu, { entries }: Data): End {
  const { address } = cpu.memory.layout.region('ring')
  const there = new SpscRing(cpu.memory.i32, address, entries)
  const back = new SpscRing(cpu.memory.i32, address + SpscRing.bytes(entries), entries)
  const [out, inn] = cpu.index === 0 ? [there, back] : [back, there]
  return { send: (packet) => out.push(packet), receive: (deliver) => inn.take(64, deliver), flush: () => out.publish() }
}

function* source(thread: Thread, end: End, data: Data): Generator<void, void, void> {
  const { cpu } = thread
  const mbufs = Mbufs.of(cpu)
  const bytes = new Uint8Array(PACKET_BYTES)
  const result = cpu.memory.layout.region('result').address >> 3
  let crossings = 0
  let under = 0
  const began = cpu.clock.now()
  for (; under < WINDOW; under++) end.send(mbufs.copyFrom(bytes))
  end.flush()
  while (under > 0) {
    end.receive((packet) => {
      crossings += 2
      if (crossings < data.count) end.send(packet)
      else {
        under--
        mbufs.free(packet)
      }
    })
    end.flush()
    if ((crossings & 0xffff) === 0) yield* thread.pause()
  }
  cpu.memory.f64[result + Result.elapsedUs] = cpu.clock.now() - began
  cpu.memory.f64[result + Result.finished] = 1
}

function* echo(thread: Thread, end: End): Generator<void, void, void> {
  const back = (packet: Address) => end.send(packet)
  while (!thread.cpu.stopping()) {
    // So many looks in one resumption: the run loop is not what is measured.
    for (let i = 0; i < 1000; i++) {
      if (end.receive(back) > 0) end.flush()
    }
    yield* thread.pause()
  }
}
