// One stack under four disciplines: the same conversations on real threads and on an event loop, and all cases of TCP and of its sockets.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { wireRegions } from '../src/device/wire.ts'
import { readLocks } from '../src/kernel/lock.ts'
import { boot, type Machine, total } from '../src/kernel.ts'
import { TcpCounters } from '../src/net/counters.ts'
import { DISCIPLINES, type Discipline } from '../src/net/discipline.ts'
import { CHANGING, VARIABLE } from '../src/net/testing/discipline.ts'
import { type ConversationData, ConversationCounters as Counters, wireOf } from './discipline-program.ts'

const LIMIT_MS = 60_000
const SEED = 20_040_501
// The long form is a step of CI.
const isLong = process.env.DAMSELFLY_LONG !== undefined
/** Times that a busy machine is stopped: each finds its CPUs somewhere else. */
const STOPS = isLong ? 6 : 1
/** Of each CPU. */
const CONVERSATIONS = isLong ? 100 : 25

const VARIANTS: readonly (readonly [Discipline, number | undefined])[] = [
  ...DISCIPLINES.map((discipline) => [discipline, undefined] as const),
  ['connp-l', 2],
]

for (const [discipline, groups] of VARIANTS) {
  const name = groups === undefined ? discipline : `${discipline} with ${groups} groups`
  for (const host of ['threads', 'inline'] as const) {
    // With three, some CPU knows of the listener before its program has been told.
    const cpus = host === 'threads' ? 3 : 2
    test(`${name}, ${host}: many conversations on ${cpus} CPUs arrive as they were sent`, async () => {
      const conversations = CONVERSATIONS
      const data: ConversationData = {
        discipline,
        cpus,
        conversations,
        atOnce: 8,
        ...(groups === undefined ? {} : { groups }),
      }
      const program = new URL('./discipline-program.js', import.meta.url)
      const regions = wireRegions(wireOf(cpus))
      const machine = await boot({ host, cpus, program, data, regions, seed: SEED, signals: false })
      try {
        await finished(machine, cpus)
        const count = (key: keyof typeof Counters.index) => total(machine.memory, Counters, key)
        assert.equal(count('wrong'), 0)
        assert.equal(count('failed'), 0)
        assert.equal(count('opened'), cpus * conversations)
        assert.equal(count('echoed') + count('reset'), cpus * conversations)
        assert.ok(total(machine.memory, TcpCounters, 'delivered') > 0)
        const locks = readLocks(machine.memory)
          .filter(({ count }) => count > 0)
          .map(({ name }) => name)
        // Threaded groups take none at all; the others take the ones that their names say.
        if (discipline === 'connp-t') assert.deepEqual(locks, [])
        else assert.ok(locks.includes(discipline === 'giant' ? 'giant' : 'connection group'), locks.join())
        assert.equal(locks.includes('tcp table'), discipline === 'msgp')
      } finally {
        await machine.stop()
      }
    })
  }
}

for (const host of ['threads', 'inline'] as const) {
  const cpus = host === 'threads' ? 3 : 2
  test(`${host}: conversations arrive as they were sent while the disciplines of both ends change`, async () => {
    const conversations = CONVERSATIONS
    const data: ConversationData = { discipline: 'connp-t', cpus, conversations, atOnce: 8, changeEveryUs: 700 }
    const program = new URL('./discipline-program.js', import.meta.url)
    const regions = wireRegions(wireOf(cpus))
    const machine = await boot({ host, cpus, program, data, regions, seed: SEED, signals: false })
    try {
      await finished(machine, cpus)
      const count = (key: keyof typeof Counters.index) => total(machine.memory, Counters, key)
      assert.equal(count('wrong'), 0)
      assert.equal(count('failed'), 0)
      assert.equal(count('echoed') + count('reset'), cpus * conversations)
      assert.ok(count('changed') > 8, `${count('changed')} changes`)
    } finally {
      await machine.stop()
    }
  })
}

test('a machine of threads stops while disciplines change under its traffic', async () => {
  for (let seed = 1; seed <= STOPS; seed++) {
    const base = { discipline: 'connp-t', cpus: 2, conversations: 100_000, atOnce: 16 } as const
    const data: ConversationData = { ...base, changeEveryUs: 100 + 50 * seed }
    const program = new URL('./discipline-program.js', import.meta.url)
    const machine = await boot({ cpus: 2, program, data, regions: wireRegions(wireOf(2)), seed, signals: false })
    const count = (key: keyof typeof Counters.index) => total(machine.memory, Counters, key)
    const deadline = Date.now() + LIMIT_MS
    while (count('changed') < 3 + seed) {
      assert.ok(Date.now() < deadline, 'disciplines change')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await machine.stop()
    assert.equal(count('wrong'), 0)
  }
})

for (const discipline of DISCIPLINES) {
  test(`${discipline}: a machine of threads stops in the middle of its traffic`, async () => {
    for (let seed = 1; seed <= STOPS; seed++) {
      const data: ConversationData = { discipline, cpus: 2, conversations: 100_000, atOnce: 16 }
      const program = new URL('./discipline-program.js', import.meta.url)
      const machine = await boot({ cpus: 2, program, data, regions: wireRegions(wireOf(2)), seed, signals: false })
      const count = (key: keyof typeof Counters.index) => total(machine.memory, Counters, key)
      const deadline = Date.now() + LIMIT_MS
      while (count('echoed') < 20 + seed) {
        assert.ok(Date.now() < deadline, 'conversations go on')
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      // Rejects when a CPU threw on its way out.
      await machine.stop()
      assert.equal(count('wrong'), 0)
    }
  })
}

async function finished(machine: Machine, cpus: number): Promise<void> {
  const deadline = Date.now() + LIMIT_MS
  let failure: unknown
  machine.done.catch((error) => {
    failure = error
  })
  while (total(machine.memory, Counters, 'finished') < cpus) {
    if (failure !== undefined) throw failure
    const told = JSON.stringify(
      Object.fromEntries(
        (Object.keys(Counters.index) as (keyof typeof Counters.index)[]).map((n) => [
          n,
          total(machine.memory, Counters, n),
        ]),
      ),
    )
    assert.ok(Date.now() < deadline, `the conversations come to an end: ${told}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const folder = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const within = (path: string, wanted: RegExp) =>
  readdirSync(folder(path))
    .filter((file) => wanted.test(file))
    .map((file) => `${folder(path)}/${file}`)
const everything = [
  // Those of the changes themselves say when there is one.
  ...within('../src/net/tcp', /(?<!^change)\.test\.js$/),
  ...within('../src/socket', /\.test\.js$/),
  ...within('../src', /^stack\.test\.js$/),
]
/** How connections begin, and how they end: a few of what each discipline has to do. */
const beginnings = within('../src/net/tcp', /^handshake\.test\.js$/)
const endings = within('../src/net/tcp', /^closing\.test\.js$/)

// The long form has all cases under all of them.
for (const [variant, cases] of [
  ['giant', isLong ? everything : []],
  ['msgp', isLong ? everything : []],
  ['connp-l', isLong ? everything : []],
  ['connp-l/3', isLong ? everything : beginnings],
  [`${CHANGING}/1`, isLong ? everything : endings],
  [`${CHANGING}/2`, isLong ? everything : []],
] as const) {
  if (cases.length === 0) continue
  test(`${variant}: ${cases === everything ? 'all cases' : 'cases'} of TCP and its sockets`, () => {
    const { status, stdout } = spawnSync(
      process.execPath,
      [...process.execArgv, '--enable-source-maps', '--test', ...cases],
      {
        env: { ...process.env, [VARIABLE]: variant, NODE_TEST_CONTEXT: undefined },
        encoding: 'utf8',
        maxBuffer: 64 * 1024 * 1024,
      },
    )
    const failed = stdout.split('\n').filter((line) => /^ *not ok/.test(line))
    assert.equal(status, 0, failed.join('\n'))
    const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1])
    assert.ok(passed > (cases === everything ? 400 : 40), stdout.slice(-400))
  })
}
