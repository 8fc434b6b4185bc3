// Every count of a machine that was busy over bad links adds up when it has come to rest, to the last one; and whoever miscounts
// one is found. The identities are those of src/metrics/balance.ts.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { snapshot } from '../src/cli/snapshot.ts'
import { workstreams } from '../src/cli/stat/workstream.ts'
import { LoadQueueCounters } from '../src/device/load/counters.ts'
import { wireRegions } from '../src/device/wire.ts'
import type { Cpu } from '../src/kernel/cpu.ts'
import { CpuState } from '../src/kernel/cpustate.ts'
import { define } from '../src/kernel/function.ts'
import { CpuBlock, HANDOFF_POINTS } from '../src/kernel/layout.ts'
import type { Memory } from '../src/kernel/memory.ts'
import { EASYNC, Plain } from '../src/kernel/message.ts'
import { NULL_PORT } from '../src/kernel/port.ts'
import { SharedTimerCounters } from '../src/kernel/shared-timer.ts'
import { boot, type Machine, total } from '../src/kernel.ts'
import { MachineView } from '../src/machine/machine.ts'
import { ByHand } from '../src/machine/testing/sim.ts'
import { IDENTITIES, type Identity, imbalances } from '../src/metrics/balance.ts'
import { type Counts, sum } from '../src/metrics/counts.ts'
import { takeCounts } from '../src/metrics/take.ts'
import { DISCIPLINES } from '../src/net/discipline.ts'
import { LAYERS } from '../src/net/policy.ts'
import { LocalCounters } from '../src/socket/local/counters.ts'
import { ConversationCounters, type ConversationData, wireOf } from './discipline-program.ts'
import { REST_US, ROUNDS, STREAM_BYTES, Talk } from './talk.ts'

/** Of each CPU: enough for a thousand segments. */
const CONVERSATIONS = 25

const NOTHING = define('test.balance.nothing', () => {})

/** Counters of a device and of sockets that these hosts do not have, and of what connp-t has no use for. */
const ELSEWHERE = new Set(
  [LoadQueueCounters, SharedTimerCounters, LocalCounters].flatMap(({ name, counters }) =>
    counters.map((each) => `${name}.${each}`),
  ),
)

/** The same counts, but for one that is wrong by one. `term` as in an Identity. */
function falsified(counts: Counts, { each = 'machine' }: Identity, term: string): Counts {
  const copy = structuredClone(counts) as Changeable
  if (each !== 'machine' && each !== 'cpu') {
    const row = copy.handoffs.find(({ point }) => each.includes(point))
    assert(row !== undefined)
    change(row, term)
  } else if (term.includes(':')) {
    const [head, tail] = term.split(':') as [string, string]
    if (head === 'waiting') copy.waiting[0]![tail]!++
    else {
      const row = copy.handoffs.find(({ point }) => (head === 'ports' ? point === 'netisr' : point === head))
      assert(row !== undefined, term)
      change(row, tail.split('@')[0]!)
    }
  } else {
    const name = term.endsWith('*')
      ? Object.keys(copy.counters[0]!).find((each) => each.startsWith(term.slice(0, -1)))
      : term
    assert(name !== undefined && (name in copy.counters[0]! || ELSEWHERE.has(name)), `${term} is a counter`)
    copy.counters[0]![name] = (copy.counters[0]![name] ?? 0) + 1
  }
  return copy
}

interface Changeable extends Counts {
  readonly counters: readonly { [name: string]: number }[]
  readonly waiting: readonly { [name: string]: number }[]
}

function change(row: object, field: string): void {
  const fields = row as { [name: string]: number | number[] }
  const value = fields[field.replace('#', '')]
  if (Array.isArray(value)) value[0]!++
  else if (typeof value === 'number') fields[field] = value + 1
  else assert.fail(`${field} is a field of a hand-off`)
}

describe('the balance of all counts', () => {
  const talk = new Talk({ seed: 7 })
  const counts = talk.rest()

  test('is of a machine that was busy: with losses, fragments, and messages between CPUs', () => {
    assert.equal(talk.streamed, 6 * STREAM_BYTES)
    assert(talk.echoed > ROUNDS)
    for (const busy of [
      'fault.lost',
      'fault.duplicated',
      'tcp.retransmitted',
      'reassembly.reassembled',
      'dispatch.handedOff',
      'ip.sentLocal',
      'icmp.sentRequests',
      'icmp.echoReplies',
      'group.looped',
      'arp.packetsHeld',
      'cpu.timersRearmed',
      'cpu.timersCancelled',
      'cpu.repliesQueued',
    ]) {
      assert(sum(counts, busy) > 20, `${busy} is ${sum(counts, busy)}`)
    }
    for (const point of ['ring', 'rx', 'netisr', 'rcv', 'free', 'control']) {
      assert(
        counts.handoffs.some((row) => row.point === point && row.source !== row.target),
        point,
      )
    }
  })

  test('holds at rest, in every identity', () => {
    assert.deepEqual(imbalances(counts, true), [])
  })

  test('holds for other seeds', () => {
    for (const seed of [1, 2]) assert.deepEqual(imbalances(new Talk({ seed }).rest(), true), [], `seed ${seed}`)
  })

  for (const discipline of DISCIPLINES) {
    test(`holds under ${discipline}`, () => {
      const other = new Talk({ seed: 3, config: { discipline } })
      assert.deepEqual(imbalances(other.rest(), true), [])
      assert.equal(other.streamed, 6 * STREAM_BYTES)
    })
  }

  for (const identity of IDENTITIES) {
    test(`finds a count of “${identity.name}” that is wrong by one, whichever`, () => {
      for (const term of [...identity.left, ...identity.right]) {
        const wrong = imbalances(falsified(counts, identity, term), true)
        assert(
          wrong.some(({ name }) => name === identity.name),
          term,
        )
      }
    })
  }

  test('finds nothing wrong with what programs hold, unless it is said that they hold nothing', () => {
    const held = structuredClone(counts) as Changeable
    held.counters[0]!['mbuf.allocated']!++
    assert.deepEqual(imbalances(held, false), [])
    const left = sum(held, 'mbuf.allocated')
    assert.deepEqual(imbalances(held, true), [
      { name: 'mbufs allocated = freed', place: 'machine', left, right: left - 1 },
    ])
  })

  test('has an identity for every point of a packet’s way', () => {
    const points = new Set(IDENTITIES.flatMap(({ each }) => (Array.isArray(each) ? (each as readonly string[]) : [])))
    assert.deepEqual([...points].sort(), [...HANDOFF_POINTS].sort())
  })
})

describe('the table of hand-offs', () => {
  // One queue for the two CPUs of a host: the other CPU has to hand over what it sends.
  const talk = new Talk({ seed: 4, queues: { a: [0], b: [2] }, config: { layers: LAYERS } })
  const counts = talk.rest()
  const [title, head, ...lines] = workstreams(snapshot(talk.machine, 'two hosts', REST_US)).split('\n')
  const columns = head!.trim().split(/ {2,}/)

  test('balances where what is sent is handed over too', () => {
    assert.deepEqual([title, imbalances(counts, true)], ['Workstreams', []])
  })

  for (const point of HANDOFF_POINTS.filter((each) => each !== 'port')) {
    test(`has a line for ${point}, with all that is measured there`, () => {
      const mine = lines.map((line) => line.split(/ {2,}/)).filter((cells) => cells[1] === point)
      const cells = mine.find((each) => each[columns.indexOf('queued')] !== '0')
      assert(cells !== undefined, `no line for ${point}`)
      const at = (column: string, occurrence = 0) => {
        const place = columns.flatMap((name, i) => (name === column ? [i] : []))[occurrence]
        return cells[place!]!
      }
      const number = (text: string) => Number(text.replaceAll(' ', ''))
      for (const column of ['queued', 'handled', 'depth p50', 'batch']) assert(number(at(column)) > 0, column)
      assert(number(at('empty')) + number(at('limit')) > 0)
      // Of freed memory nobody knows since when it waits.
      assert.equal(Number.isNaN(number(at('wait µs p50'))), point === 'free')
      // Messages to ports ring by their ring; who frees, rings only when a ring is full.
      assert.equal(Number.isNaN(number(at('rung'))), point !== 'ring' && point !== 'rx')
      const rows = counts.handoffs.filter((row) => row.point === point)
      if (point === 'ring' || point === 'rx') assert(rows.some(({ rung, avoided }) => rung > 0 && avoided > 0))
    })
  }

  test('tells of each CPU the sleeps and the doorbells that were for nothing', () => {
    const mine = lines.map((line) => line.split(/ {2,}/)).filter((cells) => cells[1] === 'all')
    assert.equal(mine.length, 4)
    for (const [cpu, cells] of mine.entries()) {
      assert.equal(cells[columns.indexOf('sleeps')]!.replaceAll(' ', ''), `${counts.counters[cpu]!['cpu.sleeps']}`)
      assert.equal(cells[columns.indexOf('spurious')], `${counts.counters[cpu]!['cpu.spuriousWakeups']}`)
    }
  })
})

describe('on threads', () => {
  for (const discipline of DISCIPLINES) {
    test(`the balance holds under ${discipline} when conversations are over`, async () => {
      const cpus = 2
      const data: ConversationData = { discipline, cpus, conversations: CONVERSATIONS, atOnce: 8 }
      const program = new URL('./discipline-program.js', import.meta.url)
      const machine = await boot({ cpus, program, data, regions: wireRegions(wireOf(cpus)), seed: 5, signals: false })
      try {
        await until(machine, () => total(machine.memory, ConversationCounters, 'rested') === cpus)
        // What is still sent, late acknowledgments perhaps, moves some count: at rest nothing does, between two looks at all of them.
        let last = takeCounts(machine)
        await until(machine, () => {
          const before = last
          last = takeCounts(machine)
          return isAsleep(machine, cpus) && isDeepStrictEqual(last, before)
        })
        assert.deepEqual(imbalances(last, false), [])
        assert.equal(total(machine.memory, ConversationCounters, 'wrong'), 0)
        assert(sum(last, 'tcp.received') > 1000 && sum(last, 'cpu.ipisSent') > 0)
        assert.equal(sum(last, 'lock.count') > 0, discipline !== 'connp-t')
      } finally {
        await machine.stop()
      }
    })
  }
})

/** Looks again and again until it holds; a machine that has failed ends it. */
async function until(machine: Machine, holds: () => boolean): Promise<void> {
  const failed = machine.done.then(() => assert.fail('the machine has ended'))
  failed.catch(() => {})
  while (!holds()) await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 20))])
}

function isAsleep({ memory }: Machine, cpus: number): boolean {
  const state = (cpu: number) => Atomics.load(memory.i32, (memory.layout.cpuBlock(cpu) + CpuBlock.offset.state) >> 2)
  return Array.from({ length: cpus }, (_, cpu) => state(cpu)).every((each) => each === CpuState.sleeping)
}

describe('what waits', () => {
  test('is looked at in the queues, and balances what was enqueued', () => {
    const { cpus, memory, machine } = twoCpus()
    cpus[1]!.ports.create({ name: 'late', dispatch: 'deferred', handler: () => EASYNC })
    const message = () => cpus[1]!.ports.allocate(Plain, NULL_PORT)
    for (let i = 0; i < 3; i++) cpus[1]!.ports.send(cpus[1]!.ports.lookup('late'), message())
    const counts = takeCounts(machine)
    assert.equal(memory.layout.cpus, 2)
    assert.deepEqual(counts.waiting, [
      { 'port messages': 0, timers: 0 },
      { 'port messages': 3, timers: 0 },
    ])
    assert.deepEqual(
      counts.handoffs.map(({ point, enqueued, length }) => ({ point, enqueued, length })),
      [{ point: 'port', enqueued: 3, length: 3 }],
    )
    assert.deepEqual(imbalances(counts, false), [])
  })

  test('in a ring is what was published and not read', () => {
    const { cpus, machine } = twoCpus()
    cpus[0]!.ipi.send(1, NOTHING, 0)
    cpus[0]!.ipi.flush()
    const [row] = takeCounts(machine).handoffs
    assert.deepEqual([row?.point, row?.source, row?.target, row?.enqueued, row?.length], ['ring', 0, 1, 1, 1])
    assert.deepEqual(imbalances(takeCounts(machine), false), [])
  })
})

/** Two CPUs that take no turn. */
function twoCpus(): { cpus: readonly Cpu[]; memory: Memory; machine: MachineView } {
  const { cpus, memory } = new ByHand(2)
  return { cpus, memory, machine: new MachineView(memory) }
}
