import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { counterSet } from '../kernel/counters.ts'
import { Plain } from '../kernel/message.ts'
import { NULL_PORT } from '../kernel/port.ts'
import { MachineView } from '../machine/machine.ts'
import { ByHand } from '../machine/testing/sim.ts'
import { sum } from './counts.ts'
import { takeCounts } from './take.ts'

/** The names of all counter sets that the sources declare; the laboratory's programs have their own, and read them. */
function declaredNames(): string[] {
  // The tests run as compiled files, in a folder beside the sources.
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!readdirSync(folder).includes('package.json')) folder = dirname(folder)
  const files = readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' })
  const sources = files.filter(
    (path) =>
      path.endsWith('.ts') && !path.endsWith('.test.ts') && !path.includes('testing') && !path.startsWith('lab'),
  )
  return sources.flatMap((path) => {
    const text = readFileSync(join(folder, 'src', path), 'utf8')
    return [...text.matchAll(/= counterSet\(\s*'([^']+)'/g)].map((match) => match[1]!)
  })
}

describe('the counts of a machine', () => {
  test('are taken of every set that there is, also where no packet passes', () => {
    const names = declaredNames()
    assert(names.includes('ip') && names.length > 20, names.join(', '))
    // A set is declared once: a second declaration throws, so one that does not was never declared here.
    const unknown = names.filter((name) => {
      try {
        counterSet(name, ['x'])
        return true
      } catch {
        return false
      }
    })
    assert.deepEqual(unknown, [])
  })

  test('are plain data: the same after a way through JSON', () => {
    const { cpus, memory } = new ByHand(2)
    const port = cpus[1]!.ports.create({ handler: () => 0, point: 'rcv' })
    for (let i = 0; i < 3; i++) cpus[0]!.ports.send(port.id, cpus[0]!.ports.allocate(Plain, NULL_PORT))
    cpus[0]!.ipi.flush()
    cpus[1]!.turn()
    const counts = takeCounts(new MachineView(memory))
    assert.deepEqual(JSON.parse(JSON.stringify(counts)), counts)
    assert.deepEqual([counts.cpus, counts.counters.length, counts.waiting.length], [2, 2, 2])
    assert.deepEqual([sum(counts, 'cpu.messagesSent'), sum(counts, 'cpu.messagesReceived')], [3, 3])
    const rows = counts.handoffs.map(({ point, source, target, enqueued, length }) => [
      point,
      source,
      target,
      enqueued,
      length,
    ])
    assert.deepEqual(rows, [
      ['ring', 0, 1, 1, 0],
      ['rcv', 0, 1, 3, 0],
    ])
    for (const { depth, wait, batch } of counts.handoffs)
      assert.deepEqual(
        [depth, wait, batch].map((h) => h.length),
        [64, 64, 64],
      )
  })

  test('tell of memory on its way home how much it is, though not from whom', () => {
    const { cpus, memory } = new ByHand(3)
    const free = (by: number) => {
      cpus[by]!.slab.free(cpus[0]!.slab.allocate(64))
      cpus[by]!.slab.flush()
    }
    const onItsWay = () => {
      const rows = takeCounts(new MachineView(memory)).handoffs.filter(({ point }) => point === 'free')
      return rows.reduce((all, { length }) => all + length, 0)
    }
    free(1)
    free(2)
    assert.equal(onItsWay(), 2)
    cpus[0]!.slab.collect()
    assert.equal(onItsWay(), 0)
    free(2)
    assert.equal(onItsWay(), 1)
  })
})
