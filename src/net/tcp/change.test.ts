// What a program has asked for, and what it is told, keeps its order while the discipline changes under it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MachineStopping } from '../../kernel/ipi.ts'
import { MachineHeader } from '../../kernel/layout.ts'
import { total } from '../../kernel.ts'
import { imbalances } from '../../metrics/balance.ts'
import { takeCounts } from '../../metrics/take.ts'
import { TcpCounters } from '../counters.ts'
import type { Discipline } from '../discipline.ts'
import { HOST, PEER, TestHost, withHost } from '../testing/host.ts'
import { Peer } from '../testing/peer.ts'
import type { TestSocket } from '../testing/program.ts'
import { flowHash } from '../toeplitz.ts'
import { ListenerRecord } from './listener.ts'

const SEEDS = 8

test('what a program sends in every turn stays in order while the connection comes to a CPU of its own and back', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    withHost({ cpus: 2, seed, discipline: 'giant' }, (host) => {
      const { socket, peer } = openElsewhere(host)
      change(host, 0, 'connp-t')
      everyTurn(host, 0, 200, (turn) => socket.socket.send(Uint8Array.of(turn)))
      change(host, 0, 'giant')
      assert.deepEqual(received(peer), [...Array(200).keys()], `seed ${seed}`)
      peer.send('RA', { ack: 201 })
      socket.expect('connect', 'error ECONNRESET')
      socket.close()
    })
  }
})

test('timers that a change moves, to those that all CPUs share and back, are accounted for', () => {
  withHost({ cpus: 2, seed: 3, discipline: 'connp-t' }, (host) => {
    const timers = () => imbalances(takeCounts(host.machine), true).filter(({ name }) => name.includes('timers'))
    const { socket, peer } = openElsewhere(host)
    socket.do((each) => each.send(Uint8Array.of(1)))
    // Unanswered: its retransmission is armed.
    change(host, 0, 'giant')
    assert.ok(total(host.machine.memory, TcpCounters, 'timersMoved') > 0)
    peer.send('A', { ack: 2 })
    socket.do((each) => each.send(Uint8Array.of(2)))
    change(host, 0, 'connp-t')
    assert.deepEqual(received(peer), [1, 2])
    peer.send('RA', { ack: 3 })
    socket.expect('connect', 'error ECONNRESET')
    socket.close()
    assert.deepEqual(timers(), [])
  })
})

test('a CPU that stops while it is held for a change has its groups to itself', async () => {
  const host = new TestHost({ cpus: 2 })
  const { cpus } = host.machine
  try {
    openElsewhere(host)
    host.stacks[0]!.setDiscipline('connp-l', 8, () => assert.fail('the machine stops'))
    const held = cpus[1]!
    // Its turn is the last of each round: the mover does not know yet.
    for (let round = 0; !held.cpusync.held; round++) {
      assert(round < 100, 'the change comes to the point where it holds the others')
      for (const index of [0, 2, 1]) cpus[index]!.turn()
    }
    held.shutdown()
    // The last turn of the other one.
    cpus[0]!.turn()
    host.stopNow()
    await host.machine.done
  } finally {
    host.abandon()
  }
})

test('a CPU whose last turn comes to a group of one that has stopped leaves, as from any other lock', () => {
  const host = new TestHost({ cpus: 2, discipline: 'connp-l', steer: 'first' })
  const { cpus, memory } = host.machine
  try {
    for (let port = 5000; port < 5020; port++) host.postPacket(new Peer(host, { port }).packet('S', { seq: 0 }))
    Atomics.store(memory.i32, (memory.layout.header + MachineHeader.offset.stop) >> 2, 1)
    cpus[1]!.shutdown()
    cpus[2]!.turn()
    assert.throws(() => cpus[0]!.turn(), MachineStopping)
  } finally {
    host.abandon()
  }
})

test('handshakes of listeners of one CPU are finished by the CPU that their flow comes to', () => {
  // One queue: under a lock the first CPU takes all that comes.
  withHost({ cpus: 2, discipline: 'giant', steer: 'first' }, (host) => {
    const servers = [0, 1].map((cpu) => host.listen({ port: 7, perCpu: true }, cpu))
    const peers = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => new Peer(host, { port: 5000 + i }))
    for (const peer of peers) {
      peer.sendSyn()
      peer.expectSyn('SA')
    }
    change(host, 0, 'connp-t')
    for (const peer of peers) peer.send('PA', { data: Uint8Array.of(1, 2, 3) })
    host.run(1000)
    for (const sent of host.take()) assert(!sent.tcp!.flags.includes('R'), 'nobody is refused')
    assert.equal(servers[0]!.sockets.length, peers.length)
    for (const { listener } of servers) {
      const counts = host.machine.memory.i32.subarray(
        listener.record >> 2,
        (listener.record + ListenerRecord.bytes(2)) >> 2,
      )
      const sum = counts.subarray(4).reduce((a, b) => a + b)
      assert.equal(sum, 0, 'nobody waits any more')
    }
    for (const peer of peers) peer.send('RA', { ack: 1 })
    for (const socket of servers[0]!.sockets) socket.close()
  })
})

/** A connection of a program on CPU 0 whose flow belongs to CPU 1 under connp-t. */
function openElsewhere(host: TestHost): { socket: TestSocket; peer: Peer } {
  let localPort = 40_000
  while (ownerOfPort(host, localPort) !== 1) localPort++
  const socket = host.connect({ address: PEER, port: 80, localPort, noDelay: true }, 0)
  return { socket, peer: Peer.accept(host) }
}

/** Something that a CPU's program does in each of so many turns. */
function everyTurn(host: TestHost, cpu: number, turns: number, run: (turn: number) => void): void {
  host.stacks[cpu]!.context.cpu.threads.start('program', function* (thread) {
    for (let turn = 0; turn < turns; turn++) {
      run(turn)
      let looks = 0
      yield* thread.until(() => looks++ > 0)
    }
  })
}

function ownerOfPort(host: TestHost, localPort: number): number {
  const stack = host.stacks[0]!
  const { context } = stack
  const local = stack.endpoint(HOST, localPort)
  const remote = stack.endpoint(PEER, 80)
  const owner = context.owner(flowHash(context.u8, local.family, local.address, remote.address, localPort, 80))
  local.free()
  remote.free()
  return owner
}

function change(host: TestHost, cpu: number, discipline: Discipline): void {
  const codes: (string | undefined)[] = []
  host.on(cpu, (stack) => stack.setDiscipline(discipline, undefined, (error) => codes.push(error?.code)))
  host.run(1000)
  assert.deepEqual(codes, [undefined])
}

/** All that the peer was sent, in the order of the stream. */
function received(peer: Peer): number[] {
  const bytes: number[] = []
  for (const { seq, data } of peer.take()) for (const [i, byte] of data.entries()) bytes[seq - 1 + i] = byte
  return bytes
}
