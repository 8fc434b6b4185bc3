import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { describe, test } from 'node:test'
import { EXPERIMENTS } from '../experiments.ts'
import { isMeasured } from '../outcome.ts'
import type { Measured } from '../workload.ts'
import hardPart from './hard-part.ts'
import { Changes } from './hard-part-changes.ts'

const SECONDS = 0.02
const few = { cpus: 2, host: 'inline' }

async function measure(parameters: { readonly [name: string]: string | number }, seconds = SECONDS): Promise<Measured> {
  const outcome = await hardPart.run({ ...few, ...parameters }, seconds, 1)
  assert(isMeasured(outcome), JSON.stringify(outcome))
  for (const [name, value] of Object.entries(outcome.metrics)) assert(Number.isFinite(value) && value >= 0, name)
  return outcome
}

function locksTaken({ tables }: Measured): string[] {
  return tables!.locks!.rows.map(([lock, site]) => `${lock}: ${site}`).sort()
}

describe('routes', () => {
  test('by messages take no lock, and each change is a round of messages', async () => {
    const { metrics, tables } = await measure({ part: 'routes', form: 'messages', routes: 100, changes: 0.1 })
    assert.equal(metrics.locks, 0)
    assert(metrics.changes! > 0)
    assert(metrics.messages! > 0.05, `${metrics.messages} messages a packet`)
    assert(tables!.queues!.rows.some(([point]) => point === 'control'))
  })

  test('under the lock take it once for each lookup and each change, and send nothing', async () => {
    const measured = await measure({ part: 'routes', form: 'lock', routes: 100, changes: 0.1 })
    assert(Math.abs(measured.metrics.locks! - 1.1) < 0.02, `${measured.metrics.locks} locks a packet`)
    assert.equal(measured.metrics.messages, 0)
    assert.deepEqual(locksTaken(measured), ['rival routes: route change', 'rival routes: route lookup'])
  })
})

describe('the host cache', () => {
  test('by messages takes no lock, and tells the others', async () => {
    // The others are told ten times a second at most.
    const { metrics } = await measure({ part: 'hostcache', form: 'messages', changes: 0.1 }, 8 * SECONDS)
    assert.equal(metrics.locks, 0)
    assert(metrics.changes! > 0)
    assert(metrics.messages! > 0)
  })

  for (const form of ['lock', 'locks']) {
    test(`under ${form === 'lock' ? 'one lock' : 'a lock for each row'} takes one for each lookup and each change`, async () => {
      const measured = await measure({ part: 'hostcache', form, changes: 0.1 })
      assert(Math.abs(measured.metrics.locks! - 1.1) < 0.02, `${measured.metrics.locks} locks a packet`)
      assert.equal(measured.metrics.messages, 0)
      assert.deepEqual(locksTaken(measured), ['rival hostcache: hostcache lookup', 'rival hostcache: hostcache update'])
    })
  }
})

describe('reassembly', () => {
  test('by messages hands on no fragment that comes to its owner', async () => {
    const { metrics } = await measure({ part: 'reassembly', form: 'messages', away: 0 })
    assert.equal(metrics.messages, 0)
    assert.equal(metrics.locks, 0)
  })

  test('by messages hands on each of the four fragments that come elsewhere', async () => {
    const { metrics } = await measure({ part: 'reassembly', form: 'messages', away: 1 })
    assert(metrics.messages! > 3.5 && metrics.messages! < 4.5, `${metrics.messages} messages a datagram`)
  })

  for (const form of ['lock', 'locks']) {
    test(`under ${form === 'lock' ? 'one lock' : 'many locks'} takes one for each fragment, wherever it comes`, async () => {
      const { metrics } = await measure({ part: 'reassembly', form, away: 1 })
      assert.equal(metrics.messages, 0)
      assert(metrics.locks! > 3.5 && metrics.locks! < 4.5, `${metrics.locks} locks a datagram`)
    })
  }
})

for (const [part, form, share] of [
  ['routes', 'lock', { routes: 1000, changes: 0.1 }],
  ['hostcache', 'locks', { changes: 0.1 }],
  ['reassembly', 'lock', { away: 1 }],
] as const) {
  test(`two real threads that share ${part} under locks lose nothing`, async (t) => {
    if (availableParallelism() < 2) return t.skip('two threads at the same time need two processors')
    // What does not add up is refused or dropped, and that is an error.
    await measure({ part, form, host: 'threads', ...share })
  })
}

test('parameters that cannot be are refused with a sentence', async () => {
  const routes = { part: 'routes', form: 'messages', routes: 10 }
  const refused: readonly [{ readonly [name: string]: string | number }, RegExp][] = [
    [{ ...routes, part: 'arp' }, /part is arp: give routes, hostcache, reassembly/],
    [{ ...routes, form: 'none' }, /form is none: give messages, lock, locks/],
    [{ ...routes, form: 'locks' }, /the routes have one lock/],
    [{ ...routes, routes: 0 }, /routes is 0: give a number from 1/],
    [{ ...routes, changes: 2 }, /changes is 2: give a number from 0 to 1/],
    [{ ...routes, host: 'sim' }, /host is sim/],
    [{ part: 'reassembly', form: 'lock', cpus: 1, away: 1 }, /there is no other/],
  ]
  for (const [parameters, sentence] of refused) {
    await assert.rejects(hardPart.run({ ...few, ...parameters }, SECONDS, 1), sentence)
  }
})

test('the cells of all experiments that use it are taken as they are', async () => {
  const cells = EXPERIMENTS.flatMap((experiment) =>
    [false, true].flatMap((full) => experiment.cells({ full, processors: 2 })),
  ).filter(({ workload }) => workload === 'hard-part')
  assert(cells.length > 0)
  for (const { parameters } of cells) {
    // More CPUs than there are processors, so that nothing is booted: what cannot be is refused before.
    const outcome = await hardPart.run({ ...parameters, cpus: 64 }, SECONDS, 1)
    assert(availableParallelism() >= 64 || 'impossible' in outcome)
  }
})

describe('changes', () => {
  /** How many are made while so many lookups are done, and in what places. */
  function run(changes: Changes, lookups: number): void {
    for (let done = 0; done < lookups; ) {
      const some = changes.before(lookups - done)
      assert(some > 0)
      done += some
    }
  }

  test('come as often as the share says', () => {
    for (const share of [0, 0.0001, 0.01, 0.1, 0.3, 1]) {
      let made = 0
      run(
        new Changes(share, 4, (_place, _isThere, done) => {
          made++
          done()
        }),
        100_000,
      )
      assert(Math.abs(made - share * 100_000) <= 1, `${made} with a share of ${share}`)
    }
  })

  test('come to each place in turn, there and not there', () => {
    const made: [number, boolean][] = []
    run(
      new Changes(1, 2, (place, isThere, done) => {
        made.push([place, isThere])
        done()
      }),
      5,
    )
    assert.deepEqual(made, [
      [0, true],
      [1, true],
      [0, false],
      [1, false],
    ])
  })

  test('hold lookups up while their places wait', () => {
    const waiting: (() => void)[] = []
    const changes = new Changes(1, 2, (_place, _isThere, done) => waiting.push(done))
    assert.equal(changes.before(10), 1)
    assert.equal(changes.before(10), 1)
    assert.equal(changes.before(10), 1)
    assert.equal(changes.before(10), 0)
    waiting[0]!()
    assert.equal(changes.before(10), 1)
    assert.equal(waiting.length, 3)
  })
})
