// Dispatch policies, and boundaries that are queues with threads of their own: under each of them, and under each discipline, TCP and UDP arrive
// byte by byte over bad links, all counts add up, and nothing is left when a machine stops.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bucketOf } from '../src/base/histogram.ts'
import { wireRegions } from '../src/device/wire.ts'
import { boot, type Machine, total } from '../src/kernel.ts'
import { imbalances } from '../src/metrics/balance.ts'
import { sum } from '../src/metrics/counts.ts'
import { DISCIPLINES } from '../src/net/discipline.ts'
import { DISPATCH_POLICIES, DISPATCH_PROTOCOLS, LAYERS, type Layer, parseDispatch } from '../src/net/policy.ts'
import { LAYERS_VARIABLE } from '../src/net/testing/discipline.ts'
import { assertAllFree } from '../src/net/testing/host.ts'
import type { HostConfig } from '../src/stack.ts'
import { type ConversationData, ConversationCounters as Counters, wireOf } from './discipline-program.ts'
import { Talk } from './talk.ts'

const LIMIT_MS = 60_000
const isLong = process.env.DAMSELFLY_LONG !== undefined
const SHORT = { streamBytes: 30_000, rounds: 10, corrupts: false }
/** Where threads and queues are by far the most. */
const ALL: Partial<HostConfig> = { layers: LAYERS }

/** All sets of layers, the empty one left out. */
function layerSets(): (readonly Layer[])[] {
  return Array.from({ length: 2 ** LAYERS.length - 1 }, (_, i) => LAYERS.filter((_, bit) => ((i + 1) >> bit) & 1))
}

const VARIANTS: readonly { readonly name: string; readonly config: Partial<HostConfig> }[] = [
  ...DISPATCH_POLICIES.map((policy) => ({ name: policy, config: { dispatch: parseDispatch(policy) } })),
  ...DISPATCH_PROTOCOLS.map((name) => ({
    name: `${name} deferred`,
    config: { dispatch: { [name]: 'deferred' } } as const,
  })),
  ...layerSets().map((layers) => ({ name: `layers ${layers.join(', ')}`, config: { layers } })),
]
/** Of each discipline, unless there is time; and of connp-t in any case. */
const FEW = ['hybrid', 'deferred', 'layers tcp', 'layers socket', `layers ${LAYERS.join(', ')}`]
const MORE = [...FEW, 'direct', 'arp deferred', 'layers ether', 'layers ip', 'layers ether, tcp', 'layers ip, socket']

for (const discipline of DISCIPLINES) {
  describe(`under ${discipline}`, () => {
    for (const { name, config } of VARIANTS) {
      if (!isLong && !(discipline === 'connp-t' ? MORE : FEW).includes(name)) continue
      test(`${name}: streams and datagrams arrive as they were sent, and all counts add up`, () => {
        const talk = new Talk({ seed: 6, config: { discipline, ...config }, ...SHORT })
        const counts = talk.rest()
        assert.equal(talk.wrong, 0)
        assert.equal(talk.streamed, 6 * SHORT.streamBytes)
        assert(talk.echoed > SHORT.rounds, `${talk.echoed} datagrams came back`)
        for (const busy of ['fault.lost', 'reassembly.reassembled']) assert(sum(counts, busy) > 0, busy)
        assert.deepEqual(imbalances(counts, true), [])
      })
    }
  })
}

describe('a queue that is full', () => {
  const tight: readonly { readonly config: Partial<HostConfig>; readonly full: readonly string[] }[] = [
    { config: { layers: ['ether'] }, full: ['Ether', 'Device'] },
    { config: { layers: ['ip'] }, full: ['Ip', 'Link'] },
    { config: { layers: ['tcp'] }, full: ['Udp', 'Tcp'] },
    { config: { layers: ['socket'] }, full: ['Socket'] },
    { config: { layers: LAYERS }, full: ['Ether', 'Link'] },
    { config: { dispatch: { ip: 'deferred' } }, full: ['Ip'] },
    { config: { dispatch: { udp: 'deferred' } }, full: ['Udp'] },
  ]
  for (const { config, full } of tight) {
    const name = config.layers?.join(', ') ?? `${Object.keys(config.dispatch!).join()} deferred`
    test(`(${name}) drops what is too much and counts it, and streams arrive all the same`, () => {
      const talk = new Talk({ seed: 6, config: { ...config, queueLimit: 2 }, ...SHORT })
      const counts = talk.rest()
      assert.equal(talk.wrong, 0)
      assert.equal(talk.streamed, 6 * SHORT.streamBytes)
      for (const protocol of full) assert(sum(counts, `netisr.dropped${protocol}`) > 0, protocol)
      assert.deepEqual(imbalances(counts, true), [])
      const depths = counts.handoffs.filter(({ point }) => point === 'link' || point === 'transport')
      for (const { point, depth } of depths)
        assert(
          depth.slice(bucketOf(2) + 1).every((times) => times === 0),
          point,
        )
    })
  }
})

describe('a machine that stops in the middle', () => {
  for (const [name, config] of [
    ['layers', ALL],
    ['deferred', { dispatch: parseDispatch('deferred') }],
  ] as const) {
    for (const discipline of DISCIPLINES) {
      test(`of its traffic leaves nothing in the queues (${name}, ${discipline})`, () => {
        for (const untilUs of isLong ? [1200, 3_300, 9_000, 30_000, 77_000] : [3_300, 30_000]) {
          const talk = new Talk({ seed: untilUs, config: { discipline, ...config } })
          talk.machine.run({ untilUs })
          talk.machine.stop().catch((error) => assert.fail(error))
          assertAllFree(talk.machine)
        }
      })
    }
  }
})

describe('where every boundary is a queue', () => {
  for (const [host, discipline] of [
    ['inline', 'connp-t'],
    ...(isLong ? DISCIPLINES : (['connp-l'] as const)).map((each) => ['threads', each] as const),
  ] as const) {
    test(`conversations of two CPUs arrive as they were sent, and end (${host}, ${discipline})`, async () => {
      const cpus = 2
      const data: ConversationData = { discipline, cpus, conversations: isLong ? 100 : 15, atOnce: 8, layers: LAYERS }
      const machine = await boot({ host, ...conversation(cpus, data) })
      try {
        await reached(machine, 'finished', cpus)
        for (const fault of ['wrong', 'failed'] as const) assert.equal(total(machine.memory, Counters, fault), 0)
        assert.equal(total(machine.memory, Counters, 'opened'), cpus * data.conversations)
        for (const point of ['link', 'netisr', 'transport', 'snd', 'rcv', 'tx']) {
          assert(machine.handoffs().some((row) => row.point === point && row.source === row.target && row.dequeued > 0))
        }
      } finally {
        await machine.stop()
      }
    })
  }

  test('a machine of threads stops in the middle of its traffic', async () => {
    for (const enough of isLong ? [5, 30, 60, 90] : [10]) {
      const data: ConversationData = { discipline: 'connp-l', cpus: 2, conversations: 1e6, atOnce: 16, layers: LAYERS }
      const machine = await boot(conversation(2, data))
      await reached(machine, 'echoed', enough)
      // Rejects when a CPU threw on its way out.
      await machine.stop()
      assert.equal(total(machine.memory, Counters, 'wrong'), 0)
    }
  })
})

function conversation(cpus: number, data: ConversationData) {
  const program = new URL('./discipline-program.js', import.meta.url)
  return { cpus, program, data, regions: wireRegions(wireOf(cpus)), seed: 20_061_215, signals: false }
}

async function reached(machine: Machine, counter: keyof typeof Counters.index, wanted: number): Promise<void> {
  const deadline = Date.now() + LIMIT_MS
  while (total(machine.memory, Counters, counter) < wanted) {
    assert(Date.now() < deadline, `${counter} comes to ${wanted}`)
    await Promise.race([machine.done, new Promise((resolve) => setTimeout(resolve, 5))])
  }
}

const folder = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const within = (path: string) =>
  readdirSync(folder(path))
    .filter((file) => file.endsWith('.test.js'))
    .map((file) => `${folder(path)}/${file}`)

test('all cases of TCP and its sockets hold where every boundary is a queue', { skip: !isLong }, () => {
  const cases = [...within('../src/net/tcp'), ...within('../src/socket'), folder('../src/stack.test.js')]
  const { status, stdout } = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...cases], {
    env: { ...process.env, [LAYERS_VARIABLE]: 'all', NODE_TEST_CONTEXT: undefined },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  const failed = stdout.split('\n').filter((line) => /^ *not ok/.test(line))
  assert.equal(status, 0, failed.join('\n'))
  assert.ok(Number(/^# pass (\d+)$/m.exec(stdout)?.[1]) > 400, stdout.slice(-400))
})
