import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { Limits } from '../../kernel.ts'
import { DISCIPLINES } from '../../net/discipline.ts'
import { EXPERIMENTS } from '../experiments.ts'
import { isMeasured } from '../outcome.ts'
import type { Measured } from '../workload.ts'
import server from './server.ts'

const SECONDS = 0.02
const few = { cpus: 2, load: 'exchange', discipline: 'connp-t', connections: 4, host: 'inline' }

async function measure(
  parameters: { readonly [name: string]: string | number | boolean },
  seconds = SECONDS,
): Promise<Measured> {
  const outcome = await server.run({ ...few, ...parameters }, seconds, 1)
  assert(isMeasured(outcome), JSON.stringify(outcome))
  for (const [name, value] of Object.entries(outcome.metrics)) assert(Number.isFinite(value) && value >= 0, name)
  return outcome
}

for (const load of ['exchange', 'bulk-in', 'bulk-out', 'short', 'http', 'udp']) {
  test(`a load of ${load} has sane figures`, async () => {
    const { metrics } = await measure({ load })
    const name = { short: 'connections', 'bulk-in': 'bits', 'bulk-out': 'bits' }[load] ?? 'exchanges'
    assert(metrics.rate! > 0)
    assert.equal(metrics[name], metrics.rate)
    assert(metrics.packets! > 0)
    assert(metrics.idle! <= 1)
    if (load.startsWith('bulk')) assert.equal(metrics.p50, undefined)
    else assert(metrics.p50! > 0 && metrics.p50! <= metrics.p99! && metrics.p99! <= metrics.p999!)
  })
}

for (const discipline of DISCIPLINES) {
  test(`${discipline} takes the locks that it has`, async () => {
    const { metrics, tables } = await measure({ discipline })
    const columns = tables!.locks!.columns
    const names = new Set(tables!.locks!.rows.map((row) => row[columns.indexOf('lock')]))
    const times = tables!.locks!.rows.reduce((sum, row) => sum + Number(row[columns.indexOf('times a packet')]), 0)
    if (discipline === 'connp-t') {
      assert.equal(metrics.locks, 0)
    } else {
      assert(metrics.locks! >= 1, `${metrics.locks} locks a packet`)
      assert(names.has(discipline === 'giant' ? 'giant' : 'connection group'), [...names].join())
    }
    assert(Math.abs(times - metrics.locks!) < 1e-6)
    // One event loop: nobody can find a lock held.
    assert.equal(metrics.contention, 0)
  })
}

test('packets on the wrong CPU are handed on, and those at home are not', async () => {
  const [home, away] = [await measure({ wrong: 0 }), await measure({ wrong: 1 })]
  assert.equal(home.metrics.queued, 0)
  assert(away.metrics.queued! >= 1, `${away.metrics.queued} queue operations a packet`)
  assert(away.tables!.queues!.rows.some(([point]) => point === 'netisr'))
})

test('each boundary that is a queue costs queue operations and resumed threads, and none is none', async () => {
  const [none, two, all] = [await measure({ layers: 0 }), await measure({ layers: 2 }), await measure({ layers: 4 })]
  const { handoffs, resumes, cost } = none.metrics
  assert.deepEqual([handoffs, resumes], [0, 0])
  assert(cost! > 0)
  assert(
    two.metrics.handoffs! >= 2 && all.metrics.handoffs! > two.metrics.handoffs! + 1,
    `${two.metrics.handoffs}, then ${all.metrics.handoffs}`,
  )
  assert(all.metrics.resumes! > 0)
  const deferred = await measure({ dispatch: 'deferred' })
  assert(deferred.metrics.handoffs! >= 2)
  assert.equal(deferred.metrics.resumes, 0)
})

test('more questions than can be answered are said to be impossible, and are no failure', async () => {
  const outcome = await server.run({ ...few, offered: 1e8 }, SECONDS, 1)
  assert.deepEqual(outcome, { impossible: 'it does not keep up with 100000000 questions a second' })
})

test('a share of what a closed loop does is offered, and answered', async () => {
  // What is offered is a share of what was measured: of more than an instant.
  const { metrics } = await measure({ share: 0.2 }, 0.1)
  assert(metrics.offered! > 0)
  const kept = metrics.exchanges! / metrics.offered!
  assert(kept > 0.5 && kept < 1.5, `${kept} of what was offered`)
})

test('a limit of batches of one has each packet handed on alone', async () => {
  const one = await measure({ wrong: 1, connections: 64, batch: 1 })
  const many = await measure({ wrong: 1, connections: 64 })
  const entries = ({ tables, metrics }: Measured) => {
    const ring = tables!.queues!.rows.find(([point]) => point === 'ring')!
    return Number(ring[3]) / metrics.packets!
  }
  assert(entries(one) > 2 * entries(many), `${entries(one)} against ${entries(many)} ring entries a packet`)
})

test('the times of locks are measured where that is asked for', async () => {
  const plain = await measure({ discipline: 'giant' })
  const timed = await measure({ discipline: 'giant', profile: true })
  assert.equal(plain.metrics.held, undefined)
  assert(timed.metrics.held! > 0)
  assert.equal(timed.metrics.waited, 0)
})

test('connection groups are as many as are asked for', async () => {
  await measure({ discipline: 'connp-l', groups: 1 })
  await assert.rejects(measure({ discipline: 'connp-t', groups: 8 }), /groups is 8/)
})

test('parameters that cannot be are refused with a sentence', async () => {
  const refused: readonly [{ readonly [name: string]: string | number }, RegExp][] = [
    [{ discipline: 'none' }, /discipline is none: give one of giant/],
    [{ load: 'flood' }, /workload is flood/],
    [{ connections: 0 }, /connections is 0/],
    [{ cpus: 'two' }, /cpus is two: give a number/],
    [{ host: 'sim' }, /host is sim/],
    [{ wrong: 2 }, /wrong is 2/],
    [{ layers: 5 }, /layers is 5: give a whole number from 0 to 4/],
    [{ layers: 0.5 }, /layers is 0.5/],
    [{ dispatch: 'fast' }, /dispatch is "fast": give direct, hybrid/],
    [{ layers: 2, dispatch: 'hybrid' }, /dispatch of ether is "hybrid", and the layer ether/],
    [{ share: -1 }, /share is -1/],
    [{ share: 0.5, offered: 5 }, /share is 0.5 and offered 5/],
    [{ batch: 2000 }, /batches.device is 2000/],
    [{ profile: 'yes' }, /profile is yes/],
  ]
  for (const [parameters, sentence] of refused) {
    await assert.rejects(server.run({ ...few, ...parameters }, SECONDS, 1), sentence)
  }
})

test('more CPUs than processors cannot be measured on threads', async (t) => {
  const cpus = availableParallelism() + 1
  if (cpus > Limits.cpus) return t.skip('this machine has more processors than a machine has CPUs')
  const outcome = await server.run({ ...few, cpus, host: 'threads' }, SECONDS, 1)
  assert('impossible' in outcome)
})

test('the cells of all experiments that use it are taken as they are', async () => {
  const cells = EXPERIMENTS.flatMap((experiment) =>
    [false, true].flatMap((full) => experiment.cells({ full, processors: 2 })),
  ).filter(({ workload }) => workload === 'server')
  assert(cells.length > 0)
  // A cell with a fault is refused before anything is booted; a host that there is not is looked at last.
  for (const { parameters } of cells) {
    await assert.rejects(server.run({ ...parameters, host: 'none' }, SECONDS, 1), /host is none/)
  }
})
