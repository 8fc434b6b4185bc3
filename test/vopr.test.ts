// The world simulator (test/world/): worlds that failed once, a fixed set of seeds and some fresh ones hold; a seed is the same world every time; and
// each kind of mistake that is made on purpose is found, and cut down.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemSeed } from '../src/base/random.ts'
import { draw } from './world/draw.ts'
import { WorldFailure } from './world/failure.ts'
import { complaintOf, type WorldPlan } from './world/plan.ts'
import { shrink } from './world/shrink.ts'
import { type Sabotage, World } from './world/world.ts'

/** Of many faults, of few; hubs and wires; all disciplines, and changes of them; deaths. */
const SEEDS = [14, 18, 28, 40, 44, 2728]

const root = (() => {
  // The tests run as compiled files, two folders deeper than the sources.
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!readdirSync(folder).includes('package.json')) folder = dirname(folder)
  return folder
})()

async function failureOf(plan: WorldPlan, sabotage: Sabotage = {}): Promise<WorldFailure | undefined> {
  try {
    await new World(plan, sabotage).run()
    return undefined
  } catch (error) {
    assert(error instanceof WorldFailure)
    return error
  }
}

async function holds(plan: WorldPlan, again: string): Promise<void> {
  const failure = await failureOf(plan)
  assert.equal(failure?.kind, undefined, `${failure?.message}\nagain: npm run vopr -- ${again}`)
}

describe('a world that failed once holds', () => {
  const folder = join(root, 'test/world/regressions')
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
    test(file.slice(0, -'.json'.length).replaceAll('-', ' '), async () => {
      const plan = JSON.parse(readFileSync(join(folder, file), 'utf8')) as WorldPlan
      assert.equal(complaintOf(plan), undefined)
      await holds(plan, `--plan test/world/regressions/${file}`)
    })
  }
})

for (const seed of SEEDS) test(`the world of seed ${seed} holds`, () => holds(draw(seed), `${seed}`))

// CI has a hundred more (npm run vopr).
test('a world of a fresh seed holds', async () => {
  const seed = systemSeed() >>> 0
  await holds(draw(seed), `${seed}`)
})

test('a seed is the same world every time, byte for byte, and another one another', async () => {
  const reports = []
  for (const seed of [28, 28, 29]) reports.push(await new World(draw(seed)).run())
  assert.deepEqual(reports[0], reports[1])
  assert.notEqual(reports[1]!.hash, reports[2]!.hash)
})

test('a plan is data: what was written and read again is the same world', async () => {
  const plan = draw(40)
  const [a, b] = [await new World(plan).run(), await new World(JSON.parse(JSON.stringify(plan)) as WorldPlan).run()]
  assert.deepEqual(a, b)
})

test('seeds make worlds of all kinds of faults and programs', () => {
  const plans = Array.from({ length: 300 }, (_, seed) => draw(seed))
  const kinds = (of: (plan: WorldPlan) => readonly object[]) =>
    new Set(plans.flatMap(of).flatMap((each) => Object.keys(each)))
  for (const kind of [
    'loss',
    'burst',
    'duplicate',
    'replay',
    'reorder',
    'jitterUs',
    'delayUs',
    'corrupt',
    'truncate',
    'rateBitsPerSecond',
    'blackHoleBytes',
    'partitions',
    'clogs',
  ]) {
    assert(kinds((plan) => plan.linkFaults.map(({ fault }) => fault)).has(kind), kind)
  }
  for (const kind of ['pause', 'timerUs', 'clockUs', 'shortage']) {
    assert(kinds((plan) => plan.machineFaults.map(({ fault }) => fault)).has(kind), kind)
  }
  for (const kind of ['ephemeralPorts', 'initialSequence', 'layers', 'groups', 'ecn']) {
    assert(kinds((plan) => plan.hosts).has(kind), kind)
  }
  for (const kind of ['reader', 'writer', 'abortsAfterSent', 'abortsAfterReceived']) {
    assert(kinds((plan) => plan.streams.flatMap(({ ends }) => Object.values(ends))).has(kind), kind)
  }
  assert(plans.some(({ streams }) => streams.some(({ options }) => options.receiveBytes === 1)))
  assert(plans.some(({ ringEntries }) => ringEntries === 16))
  assert.deepEqual(
    new Set(plans.flatMap(({ deaths }) => deaths.map(({ kind }) => kind))),
    new Set(['programs', 'silence']),
  )
  assert.equal(new Set(plans.flatMap(({ changes }) => changes.map(({ discipline }) => discipline))).size, 4)
  assert.deepEqual(
    plans.map(complaintOf).filter((complaint) => complaint !== undefined),
    [],
  )
})

/** A world in which nothing is extraordinary. */
const ORDINARY: WorldPlan = {
  seed: 1,
  memoryBytes: 64 * 1024 * 1024,
  ringEntries: 64,
  hosts: [
    { name: 'a', cpus: 2, discipline: 'connp-t' },
    { name: 'b', cpus: 1, discipline: 'msgp' },
    { name: 'c', cpus: 1, discipline: 'connp-t' },
  ],
  links: ['a-b', 'b-c'].map((name) => {
    return { name, kind: 'wire', hosts: name.split('-'), mtu: 1500, entries: 512, delayUs: 500 }
  }),
  linkFaults: ['a', 'b'].map((host) => {
    return { link: 'a-b', host, way: 'out', fromUs: 20_000, untilUs: 90_000, fault: { loss: 0.05 } }
  }),
  machineFaults: [{ fromUs: 20_000, untilUs: 90_000, fault: { pause: 0.001 } }],
  listeners: ['b', 'c'].map((host) => ({ host, cpu: 0, port: 80, perCpu: false, backlog: 511, options: {} })),
  streams: [1, 2, 3, 4].map((id) => {
    const [client, server] = id % 2 === 0 ? ['a', 'b'] : ['b', 'c']
    const ends = { client: { sends: 1500 * id, ends: 'first' }, server: { sends: 700 * id, ends: 'last' } } as const
    return {
      id,
      link: `${client}-${server}`,
      client,
      cpu: 0,
      server,
      port: 80,
      localPort: 0,
      atUs: 30_000,
      options: {},
      ends,
    }
  }),
  datagrams: [
    { id: 1000, link: 'a-b', client: 'a', cpu: 1, server: 'b', atUs: 30_000, everyUs: 900, sizes: [8, 100, 3000, 50] },
  ],
  changes: [{ host: 'a', cpu: 1, atUs: 33_000, discipline: 'giant' }],
  deaths: [],
  healUs: 100_000,
}

interface Mistake {
  readonly name: string
  /** The failure that it has to be found as. */
  readonly kind: RegExp
  readonly sabotage: () => Sabotage
  /** What it takes: so many streams and flows. */
  readonly takes?: readonly [number, number]
}

const MISTAKES: readonly Mistake[] = [
  {
    name: 'a byte of a stream that is not what was sent',
    kind: /^wrong bytes$/,
    takes: [1, 0],
    sabotage: () => ({
      received: (end, bytes) => {
        if (end.received >= 8) bytes[bytes.length - 1]! ^= 1
      },
    }),
  },
  {
    name: 'bytes of another stream',
    kind: /^wrong bytes$/,
    sabotage: () => {
      let stolen: Uint8Array | undefined
      return {
        received: (end, bytes) => {
          if (end.way === 'client' || end.received < 8) return
          if (stolen === undefined) stolen = bytes.slice()
          else bytes.set(stolen.subarray(0, bytes.length))
        },
      }
    },
  },
  {
    name: 'a stream that begins as nobody’s does',
    kind: /^foreign bytes$/,
    sabotage: () => ({
      received: (end, bytes) => {
        if (end.way === 'server' && end.received === 0) bytes[0]! ^= 255
      },
    }),
  },
  {
    name: 'a stream that is somebody else’s',
    kind: /^(foreign|doubled) connection$/,
    sabotage: () => ({
      // The number of a stream is in its first eight bytes.
      received: (end, bytes) => {
        if (end.way === 'server' && end.received === 0 && bytes.length === 8) bytes[7] = 3
      },
    }),
  },
  {
    name: 'a datagram that nobody has sent',
    kind: /^(wrong|foreign) datagram$/,
    sabotage: () => ({
      datagram: (_, bytes) => {
        bytes[bytes.length - 1]! ^= 4
      },
    }),
  },
  {
    name: 'a wakeup that is lost',
    kind: /^not over$/,
    takes: [1, 0],
    sabotage: () => ({ isDeaf: (end) => end.way === 'server' }),
  },
  {
    name: 'a packet that is never freed',
    kind: /^balance: mbufs allocated = freed$/,
    takes: [0, 0],
    sabotage: () => ({ begun: (stacks) => void stacks[0]!.context.mbufs.allocate() }),
  },
  {
    name: 'memory that is never freed',
    kind: /^memory left$/,
    sabotage: () => ({ begun: (stacks) => void stacks.at(-1)!.context.cpu.slab.allocate(64) }),
  },
  {
    name: 'a program that throws',
    kind: /^throws: byte #$/,
    sabotage: () => ({
      received: (end) => {
        if (end.received > 0) throw new Error(`byte ${end.received}`)
      },
    }),
  },
]

describe('of what is wrong on purpose', () => {
  test('nothing is found where there is nothing', () => holds(ORDINARY, '(the plan is in test/vopr.test.ts)'))

  for (const { name, kind, sabotage, takes } of MISTAKES) {
    test(`${name} is found${takes === undefined ? '' : ', and cut down to what it takes'}`, async () => {
      const failure = await failureOf(ORDINARY, sabotage())
      assert.match(failure?.kind ?? 'nothing', kind, failure?.message)
      if (takes === undefined) return
      const {
        plan: least,
        failure: still,
        isLeast,
      } = await shrink(ORDINARY, failure!, {
        fails: (smaller) => failureOf(smaller, sabotage()),
      })
      assert(isLeast)
      assert.equal(still.kind, failure!.kind)
      const { streams, datagrams, linkFaults, machineFaults, changes } = least
      const left = [streams, datagrams, linkFaults, machineFaults, changes].map(({ length }) => length)
      assert.deepEqual(left, [...takes, 0, 0, 0])
      assert.equal(complaintOf(least), undefined)
      // What was cut down is found again by itself.
      assert.equal((await failureOf(least, sabotage()))?.kind, still.kind)
    })
  }
})

test('the shrinker keeps what a failure needs, and nothing else', async () => {
  const plan = draw(28)
  const needs = (each: WorldPlan) =>
    each.streams.some(({ id }) => id === 6) && each.machineFaults.length > 0 && each.hosts.some(({ cpus }) => cpus > 1)
  assert(needs(plan))
  const fails = async (each: WorldPlan) => (needs(each) ? new WorldFailure('it', 'is there') : undefined)
  const { plan: least, isLeast } = await shrink(plan, new WorldFailure('it', 'is there'), { fails })
  assert(isLeast)
  const sizes = [least.streams, least.machineFaults, least.linkFaults, least.datagrams, least.changes, least.deaths]
  assert.deepEqual(
    sizes.map(({ length }) => length),
    [1, 1, 0, 0, 0, 0],
  )
  assert(least.hosts.length === 2 && least.hosts.some(({ cpus }) => cpus === 2))
})

describe('npm run vopr', () => {
  const script = fileURLToPath(new URL('../scripts/vopr.js', import.meta.url))

  interface Ran {
    readonly status: number | null
    readonly stdout: string
    readonly stderr: string
  }

  /** `interruptAt`: what it has said when it is interrupted. */
  function run(argv: readonly string[], interruptAt?: RegExp): Promise<Ran> {
    const child = spawn(process.execPath, [script, ...argv], { cwd: root })
    let stdout = ''
    let stderr = ''
    let interrupted = false
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      if (interrupted || interruptAt?.test(stdout) !== true) return
      interrupted = true
      child.kill('SIGINT')
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    return new Promise((resolve) => child.on('close', (status) => resolve({ status, stdout, stderr })))
  }

  test('says of a seed what went on in its world', async () => {
    const { status, stdout } = await run(['28'])
    const { hash } = await new World(draw(28)).run()
    assert.match(stdout, new RegExp(`seed 28 holds: hash ${hash}`))
    assert.match(stdout, /1 worlds in .* 0 failed/)
    assert.equal(status, 0)
  })

  test('refuses what it does not understand, and files that are no plans, with a sentence', async () => {
    for (const [argv, sentence] of [
      [['--sedes'], /"--sedes" is not understood\nusage: /],
      [['--plan', 'package.json'], /package.json is no plan: "hosts" is missing/],
      [['--plan', 'nowhere.json'], /nowhere.json is no plan: ENOENT/],
    ] as const) {
      const { status, stderr, stdout } = await run(argv)
      assert.match(stderr, sentence)
      assert.deepEqual([status, stdout], [2, ''])
    }
  })

  test('tells of a failure how it is had again, and cuts it down', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
    try {
      // Nobody listens, and nothing in this world is a reason for that.
      const file = join(folder, 'plan.json')
      writeFileSync(file, JSON.stringify({ ...ORDINARY, listeners: ORDINARY.listeners.slice(1), changes: [] }))
      const { status, stdout } = await run(['--plan', file, '--shrink'])
      assert.match(stdout, /plan\.json fails at commit \S+( with changes)?: fails with ECONNREFUSED/)
      assert.match(stdout, /again: npm run vopr -- --plan .*plan\.json\n/)
      assert.match(stdout, /failed: .*plan\.json/)
      assert.equal(status, 1)
      const least = stdout.split('\n').find((line) => line.startsWith('{'))!
      assert.equal((JSON.parse(least) as WorldPlan).streams.length, 1)
      writeFileSync(file, least)
      assert.match((await run(['--plan', file])).stdout, /fails with ECONNREFUSED/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('ends in order when it is interrupted, with a summary', async () => {
    const { status, stdout } = await run(['--minutes', '5', '--from', '100'], /seeds from 100/)
    assert.match(stdout, /\d+ worlds in .* s, 0 failed/)
    assert.equal(status, 130)
  })
})
