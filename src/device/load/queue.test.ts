import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Address } from '../../base/struct.ts'
import { type Cpu, simulate } from '../../kernel.ts'
import { assertAllFree } from '../../net/testing/host.ts'
import { attachQueue } from '../device.ts'
import { Mbuf, Mbufs } from '../mbuf.ts'
import { PROTOCOL_TCP, Tcp } from './header.ts'
import type { LoadOptions } from './options.ts'
import { LoadQueue } from './queue.ts'
import { type LoadReading, loadErrors, readLoad, tellLoad } from './reading.ts'
import { loadRegions } from './region.ts'

const SECOND = 1e6
const { ACK, FIN, RST, SYN } = Tcp

/** What a responder makes of a packet: the header of its answer, or nothing. */
interface Segment {
  flags: number
  sequence: number
  acknowledgment: number
  payload: number
}
type Respond = (segment: Segment, turns: number) => Segment | undefined

/** A server of a few lines in the stack's place: `respond` says what it answers; datagrams it echoes where `echoes` holds. */
class Responder {
  readonly queue: LoadQueue
  echoes = true
  turns = 0
  readonly #cpu: Cpu
  readonly #mbufs: Mbufs
  readonly #respond: Respond

  constructor(cpu: Cpu, load: LoadOptions, respond: Respond) {
    this.queue = new LoadQueue(cpu, load)
    this.#cpu = cpu
    this.#mbufs = Mbufs.of(cpu)
    this.#respond = respond
    attachQueue(cpu, this.queue, (packet) => this.#input(packet))
  }

  #input(packet: Address): void {
    const { view, u8, u32 } = this.#cpu.memory
    const data = u32[(packet + Mbuf.offset.data) >> 2]!
    const total = u32[(packet + Mbuf.offset.total) >> 2]!
    for (const [first, bytes] of [
      [12, 4],
      [20, 2],
    ] as const) {
      const source = u8.slice(data + first, data + first + bytes)
      u8.copyWithin(data + first, data + first + bytes, data + first + 2 * bytes)
      u8.set(source, data + first + bytes)
    }
    if (u8[data + 9] === PROTOCOL_TCP) {
      const headers = 20 + ((u8[data + 32]! >> 4) << 2)
      const answer = this.#respond(
        {
          flags: u8[data + 33]!,
          sequence: view.getInt32(data + 24),
          acknowledgment: view.getInt32(data + 28),
          payload: total - headers,
        },
        this.turns++,
      )
      if (answer === undefined) {
        this.#mbufs.free(packet)
        return
      }
      view.setInt32(data + 24, answer.sequence)
      view.setInt32(data + 28, answer.acknowledgment)
      u8[data + 33] = answer.flags
      this.#mbufs.trimTo(packet, headers + answer.payload)
    } else if (!this.echoes) {
      this.#mbufs.free(packet)
      return
    }
    this.queue.transmit(packet)
  }
}

/** Answers as an echo server does. */
const echo: Respond = ({ flags, sequence, acknowledgment, payload }) => {
  if ((flags & SYN) !== 0) return { flags: SYN | ACK, sequence: 7000, acknowledgment: sequence + 1, payload: 0 }
  const taken = payload + (flags & FIN)
  if (taken === 0) return undefined
  const answer = { sequence: acknowledgment, acknowledgment: (sequence + taken) | 0, payload }
  return { ...answer, flags: ACK | (flags & FIN) }
}

function withResponder(
  options: Partial<LoadOptions> & Pick<LoadOptions, 'workload'>,
  respond: Respond,
  body: (run: (us: number) => LoadReading, responder: Responder, load: LoadOptions, cpu: Cpu) => void,
  memoryBytes = 64 * 1024 * 1024,
): void {
  const load: LoadOptions = { name: 'l', cpus: [0], connections: 4, server: '10.0.0.1', port: 7, ...options }
  const machine = simulate({ cpus: 1, seed: 3, turnUs: 100, regions: loadRegions(load), memoryBytes })
  try {
    const cpu = machine.cpus[0]!
    const responder = new Responder(cpu, load, respond)
    const run = (us: number) => {
      machine.run({ untilUs: machine.clock.now() + us })
      return readLoad(machine.memory, load)
    }
    body(run, responder, load, cpu)
    machine.stop().catch(() => {})
    assertAllFree(machine)
  } finally {
    machine.stop().catch(() => {})
  }
}

test('every packet of the device has right checksums', () => {
  for (const workload of ['exchange', 'bulk-in', 'bulk-out', 'short', 'udp'] as const) {
    const load: LoadOptions = {
      name: 'l',
      cpus: [0],
      connections: 300,
      server: '10.0.0.1',
      port: 7,
      workload,
      bytes: 33,
    }
    const machine = simulate({ cpus: 1, seed: 3, regions: loadRegions(load) })
    const cpu = machine.cpus[0]!
    const { memory } = cpu
    const queue = new LoadQueue(cpu, load)
    let checked = 0
    const check = (packet: Address) => {
      const data = memory.u32[(packet + Mbuf.offset.data) >> 2]!
      const bytes = memory.u32[(packet + Mbuf.offset.total) >> 2]! - 20
      assert.equal(memory.view.getUint16(data + 2), bytes + 20)
      assert.equal(memory.routines.sum(data, 20, 0), 0xffff)
      const pseudo = memory.routines.sum(data + 12, 8, memory.u8[data + 9]! + bytes)
      assert.equal(memory.routines.sum(data + 20, bytes, pseudo), 0xffff)
      checked++
      Mbufs.of(cpu).free(packet)
    }
    for (let turn = 0; turn < 10; turn++) queue.receive(64, check)
    assert(checked >= 32, `${workload}: ${checked} packets`)
    queue.close()
    machine.stop().catch(() => {})
  }
})

test('a server that does not answer is counted once a second for each connection', () => {
  withResponder(
    { workload: 'exchange' },
    (segment) => ((segment.flags & SYN) !== 0 ? echo(segment, 0) : undefined),
    (run) => {
      assert.equal(run(SECOND / 2).counts.open, 4)
      assert.deepEqual(loadErrors(run(0)), {})
      assert.deepEqual(loadErrors(run(SECOND)), { errorStalled: 4 })
      assert.deepEqual(loadErrors(run(SECOND * 2)), { errorStalled: 12 })
    },
  )
})

test('a SYN that is not answered is sent again, and a short connection that stalls is given up for another one', () => {
  let deaf = true
  const respond: Respond = (segment, turns) => (deaf ? undefined : echo(segment, turns))
  withResponder({ workload: 'short' }, respond, (run, _, load, cpu) => {
    assert.deepEqual(loadErrors(run(1.5 * SECOND)), { errorStalled: 4 })
    deaf = false
    const { counts } = run(SECOND)
    assert(counts.closes > 100)
    deaf = true
    run(SECOND * 2)
    deaf = false
    const before = run(0).counts
    assert(before.errorStalled >= 8)
    assert(run(SECOND).counts.closes > before.closes + 100)
    tellLoad(cpu.memory, load, 'rest')
    run(SECOND / 10)
  })
})

test('datagrams that are not answered within a second are lost, and others take their place', () => {
  withResponder({ workload: 'udp', outstanding: 3 }, echo, (run, responder) => {
    run(SECOND / 10)
    responder.echoes = false
    const { counts } = run(1.5 * SECOND)
    assert.equal(counts.errorLost, 12)
    assert.equal(counts.asked, counts.exchanges + counts.errorLost + 12)
    responder.echoes = true
    // The twelve that are under way were dropped as well.
    assert.equal(run(1.5 * SECOND).counts.errorLost, 24)
    assert(run(SECOND).counts.exchanges > counts.exchanges + 100)
  })
})

test('a reset ends an established connection, and is counted', () => {
  const respond: Respond = (segment, turns) => {
    const answer = echo(segment, turns)
    return answer !== undefined && turns > 100 ? { ...answer, flags: RST | ACK, payload: 0 } : answer
  }
  withResponder({ workload: 'exchange' }, respond, (run) => {
    const reading = run(SECOND)
    assert.deepEqual(loadErrors(reading), { errorReset: 4 })
    assert.equal(reading.counts.open, 0)
    assert.equal(run(SECOND).counts.sent, reading.counts.sent)
  })
})

test('what is no answer is counted and freed, whatever it says', () => {
  withResponder({ workload: 'exchange', begins: false }, echo, (run, { queue }, _, cpu) => {
    const random = cpu.random.fork(9)
    const mbufs = Mbufs.of(cpu)
    for (let i = 0; i < 2000; i++) {
      const bytes = Uint8Array.from({ length: random.below(80) }, () => random.next() & 0xff)
      const packet = mbufs.copyFrom(bytes)
      // Half of them are for one of the clients, and of TCP.
      if (i % 2 === 0 && bytes.length >= 40) {
        const data = cpu.memory.u32[(packet + Mbuf.offset.data) >> 2]!
        cpu.memory.u8.set([0x45], data)
        cpu.memory.u8.set([PROTOCOL_TCP], data + 9)
        cpu.memory.u8.set([10, 1, 0, 0], data + 16)
        cpu.memory.u8.set([64, random.below(4)], data + 22)
      }
      assert(queue.transmit(packet))
    }
    queue.flush()
    const { counts } = run(SECOND / 10)
    assert.equal(counts.received, 2000)
    assert.equal(counts.errorUnexpected, 2000)
  })
})

test('without an mbuf a packet is made later', () => {
  withResponder({ workload: 'exchange' }, echo, (run, _, _load, cpu) => {
    const before = run(SECOND / 10).counts
    const mbufs = Mbufs.of(cpu)
    const held: Address[] = []
    for (let packet = mbufs.allocate(); packet !== 0; packet = mbufs.allocate()) held.push(packet)
    const without = run(SECOND / 10).counts
    assert(without.errorNoMbuf > 0)
    assert.equal(without.sent, before.sent)
    for (const packet of held) mbufs.free(packet)
    assert(run(SECOND / 10).counts.exchanges > before.exchanges + 100)
  })
})

test('of an open loop, questions beyond those that can wait are counted', () => {
  const deaf: Respond = (segment, turns) => ((segment.flags & SYN) !== 0 ? echo(segment, turns) : undefined)
  withResponder({ workload: 'exchange', offered: 200_000 }, deaf, (run) => {
    const { counts } = run(SECOND / 2)
    assert(Math.abs(counts.errorOverrun - (100_000 - 65_536 - 4)) < 3000, `${counts.errorOverrun}`)
    assert.equal(counts.asked, 4)
  })
})
