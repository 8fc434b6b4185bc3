import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByHand } from '../../machine/testing/sim.ts'
import { Answers } from './cell.ts'
import { LoadQueueCounters } from './counters.ts'
import { type LoadOptions, loadPlan } from './options.ts'
import { LoadRegion, loadRegions } from './region.ts'

const CONNECTIONS = 6
const load: LoadOptions = {
  name: 'l',
  cpus: [0, 1, 2],
  workload: 'exchange',
  connections: CONNECTIONS,
  server: '10.0.0.1',
  port: 7,
}

function ends() {
  const machine = new ByHand(3, { regions: loadRegions(load) })
  const region = LoadRegion.find(machine.memory, load)
  return machine.cpus.map((cpu, queue) => {
    return new Answers(cpu, loadPlan(load), region, queue, cpu.counterPage.open(LoadQueueCounters))
  })
}

interface Taken {
  readonly number: number
  readonly flags: number
  readonly acknowledged: number
  readonly end: number
  readonly window: number
  readonly segments: number
  readonly seenAt: number
}

function take(answers: Answers): Taken[] {
  const taken: Taken[] = []
  answers.take((number, flags, acknowledged, end, window, segments, seenAt) =>
    taken.push({ number, flags, acknowledged, end, window, segments, seenAt }),
  )
  return taken
}

test('an answer is there with the flush, once, and says when it left', () => {
  const [home, other] = ends() as [Answers, Answers]
  other.post(4, 0, 0x101234, 100, -5, 0x3ffff, 1, 7)
  assert.deepEqual([home.pending, take(home)], [false, []])
  other.flush(9)
  assert(home.pending)
  const said = { number: 4, flags: 0x101234, acknowledged: 100, end: -5, window: 0x3ffff, segments: 1, seenAt: 9 }
  assert.deepEqual(take(home), [said])
  assert.deepEqual([home.pending, take(home)], [false, []])
  other.flush(10)
  assert.equal(home.pending, false)
})

test('of several packets the last is seen, and all of their segments', () => {
  const [home, other, third] = ends() as [Answers, Answers, Answers]
  other.post(1, 0, 1, 100, 10, 5, 1, 0)
  other.post(1, 0, 1, 200, 20, 6, 2, 0)
  other.flush(1)
  other.post(1, 0, 1, 300, 30, 7, 1, 2)
  third.post(1, 0, 1, 250, 25, 7, 1, 2)
  third.flush(3)
  const taken = take(home).sort((a, b) => a.end - b.end)
  assert.deepEqual(
    taken.map(({ end, segments }) => [end, segments]),
    [
      [25, 1],
      [30, 4],
    ],
  )
  // It was in the list when it was posted last, so there is nothing left to be flushed.
  other.flush(4)
  assert.equal(home.pending, false)
})

test('whatever is posted, flushed and taken in whatever order, each home learns the greatest of all and every segment', () => {
  const step = fc.record({
    queue: fc.integer({ min: 0, max: 2 }),
    what: fc.constantFrom('post', 'post', 'post', 'flush', 'take'),
    number: fc.integer({ min: 0, max: CONNECTIONS - 1 }),
    segments: fc.integer({ min: 0, max: 3 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queues = ends()
      const sent = Array.from({ length: CONNECTIONS }, () => ({ end: 0, segments: 0 }))
      const known = Array.from({ length: CONNECTIONS }, () => ({ end: 0, segments: 0 }))
      const learn = (home: number) => {
        for (const { number, end, segments } of take(queues[home]!)) {
          assert.equal(number % 3, home, 'it is at home there')
          known[number]!.end = Math.max(known[number]!.end, end)
          known[number]!.segments += segments
        }
      }
      for (const { queue, what, number, segments } of steps) {
        if (what === 'flush') queues[queue]!.flush(0)
        else if (what === 'take') learn(queue)
        else if (number % 3 !== queue) {
          const total = sent[number]!
          total.end++
          total.segments += segments
          queues[queue]!.post(number, number % 3, 0, 0, total.end, 0, segments, 0)
        }
      }
      for (const queue of queues) queue.flush(0)
      for (const home of [0, 1, 2]) learn(home)
      assert.deepEqual(known, sent)
    }),
    { seed: 5, numRuns: 300 },
  )
})
