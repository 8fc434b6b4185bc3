// Two stacks that talk, and somebody in the middle who changes what some conversations say. Nothing throws, every frame is accounted for, what
// a frame costs is bounded, the conversations that are let alone are whole to the last byte, and at the end all memory is back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import type { Address } from '../../src/base/struct.ts'
import { CpuCounters } from '../../src/kernel/counters.ts'
import { nudge } from '../../src/machine/testing/sim.ts'
import { IpCounters, TcpCounters, UdpCounters } from '../../src/net/counters.ts'
import { type Plan, World } from '../../src/net/tcp/testing/pair.ts'
import { counting } from '../../src/net/testing/frame.ts'
import { echo } from '../../src/service/echo.ts'
import type { UdpSocket } from '../../src/stack.ts'
import { Mutator } from './mutator.ts'
import { forSeeds } from './seed.ts'

const SECOND = 1_000_000
const THEIRS = 20
const OURS = 4
/** Ports of conversations that are let alone. */
const FIRST_PORT = 30_000
const PORTS = 100
const protects = (port: number) => port >= FIRST_PORT && port < FIRST_PORT + PORTS
const ECHO_PORT = 7
const DATAGRAMS = 60
const LIMIT_S = 600
/** Timers fire while nothing comes; a frame is handed on once at most. */
const TURNS_PER_FRAME = 40
const TURNS_PER_SECOND = 2000

for (const cpus of [1, 2]) {
  test(`between hosts of ${cpus} CPUs what one conversation's frames are changed to hurts no other`, () => {
    forSeeds((seed) => {
      const random = new Random(seed)
      const mutator = new Mutator({ random: random.fork(1), share: 0.25, protects })
      const world = new World({
        seed,
        cpus,
        tap: mutator.tap,
        forward: { delayUs: 2000, loss: 0.005 },
        backward: { delayUs: 2000, reorder: 0.01 },
        memoryBytes: 96 * 1024 * 1024,
      })
      try {
        live(world, random, cpus)
        const { came, went, changed, dropped, added, spared } = mutator.counts
        assert.equal(went, came - dropped + added, 'who is in the middle accounts for all frames')
        assert(changed > 100 && spared < changed, `${changed} changed, ${spared} spared`)
      } finally {
        world.abandon()
      }
    })
  })
}

function live(world: World, random: Random, cpus: number): void {
  const plan = (isForged: boolean): Plan => ({
    sends: 10_000 + random.below(100_000),
    isForged,
    options: { keepAliveMs: 20_000, noDelay: random.chance(0.5) },
  })
  for (let i = 0; i < THEIRS + OURS; i++) {
    const isForged = i < THEIRS
    world.converse({
      client: plan(isForged),
      server: plan(isForged),
      cpu: i % cpus,
      localPort: (isForged ? 20_000 : FIRST_PORT) + i,
      atUs: random.below(200_000),
    })
  }
  const datagrams = [new Datagrams(world, 0, 21_000, 3000), new Datagrams(world, cpus - 1, FIRST_PORT + 50, 700)]
  const turns = world.counts(CpuCounters).turns
  const ours = world.conversations.slice(THEIRS).flatMap(({ client, server }) => [client, server])
  let seconds = 0
  for (; seconds < LIMIT_S && !ours.every(({ over }) => over); seconds++) world.run(SECOND)
  for (const party of ours) {
    assert.equal(party.errno, 0, party.describe())
    assert(party.over && party.ended && party.received === party.peer!.plan.sends, party.describe())
  }
  const frames = world.counts(IpCounters).received
  const used = world.counts(CpuCounters).turns - turns
  const most = TURNS_PER_FRAME * frames + TURNS_PER_SECOND * seconds
  assert(used <= most, `${used} turns for ${frames} frames in ${seconds} s`)
  // Of datagrams some are lost, and none is another.
  const [changed, whole] = datagrams
  assert(whole!.right > DATAGRAMS / 2 && whole!.wrong === 0, `${whole!.right} right, ${whole!.wrong} wrong`)
  assert(changed!.right > 0)
  // Whatever is left of the others is ended.
  for (const { client, server } of world.conversations)
    for (const party of [client, server]) soon(world, party.cpu.index, () => party.abort())
  for (const each of datagrams) each.close()
  world.run(10 * SECOND)
  for (const party of world.conversations.flatMap(({ client, server }) => [client, server])) {
    if (!party.over && party.socket === undefined) party.abandon()
  }
  // What is closed and still not acknowledged is given up, TIME-WAITs end.
  world.run(1500 * SECOND)
  const tcp = world.counts(TcpCounters)
  const udp = world.counts(UdpCounters)
  const seen = [tcp.droppedChecksum, udp.droppedChecksum, tcp.rejectedWindow + tcp.challenges]
  assert(
    seen.every((count) => count > 0),
    `what was changed came to where it is looked at: ${seen}`,
  )
  world.finish()
}

/** A socket that has datagrams echoed. */
class Datagrams {
  right = 0
  wrong = 0
  readonly #world: World
  readonly #cpu: number
  #socket: UdpSocket | undefined

  constructor(world: World, cpu: number, port: number, size: number) {
    this.#world = world
    const stack = world.stacks[1]![cpu]!
    this.#cpu = stack.context.cpu.index
    if (protects(port))
      for (const each of world.stacks[0]!) soon(world, each.context.cpu.index, () => echo(each, ECHO_PORT, () => {}))
    const sent = counting(size, port & 0xff)
    soon(world, this.#cpu, () => {
      const { cpu: own, mbufs } = stack.context
      const target = stack.endpoint('10.0.1.1', ECHO_PORT)
      own.onStop(() => target.free())
      const onReadable = (socket: UdpSocket) => {
        for (let packet: Address = socket.receive(); packet !== 0; packet = socket.receive()) {
          if (Buffer.compare(mbufs.bytes(packet), sent) === 0) this.right++
          else this.wrong++
          mbufs.free(packet)
        }
      }
      const send = (left: number) => {
        if (left === 0 || this.#socket === undefined) return
        this.#socket.sendBytes(sent, target)
        own.timers.after(20_000, () => send(left - 1))
      }
      this.#socket = stack.udp.open({ port, onReadable, onError: () => {} }, () => send(DATAGRAMS))
    })
  }

  close(): void {
    soon(this.#world, this.#cpu, () => {
      this.#socket?.close()
      this.#socket = undefined
    })
  }
}

/** Runs `job` in a turn of a CPU. */
function soon(world: World, cpu: number, job: () => void): void {
  world.machine.cpus[cpu]!.timers.after(0, job)
  nudge(world.machine, cpu)
}
