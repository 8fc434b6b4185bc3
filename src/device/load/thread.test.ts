import assert from 'node:assert/strict'
import { test } from 'node:test'
import { boot, type Machine, total } from '../../kernel.ts'
import type { LoadOptions, LoadWorkload } from './options.ts'
import { type LoadCounts, loadErrors, readLoad, tellLoad } from './reading.ts'
import { loadRegions } from './region.ts'
import { Port, SERVER, ServerCounters } from './testing/server.ts'

/** Looks again and again until it holds; a machine that has failed ends it. */
async function until(machine: Machine, holds: () => boolean): Promise<void> {
  const failed = machine.done.then(() => assert.fail('the machine has ended'))
  while (!holds()) await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 5))])
  failed.catch(() => {})
}

for (const workload of ['exchange', 'short', 'udp'] as const satisfies readonly LoadWorkload[]) {
  test(`answers that leave by the other thread's queue are all taken: ${workload}`, async () => {
    const load: LoadOptions = {
      name: 'load0',
      cpus: [0, 1],
      workload,
      connections: 64,
      server: SERVER,
      port: Port.echo,
      wrong: 0.5,
      begins: false,
    }
    const machine = await boot({
      cpus: 2,
      program: new URL('./testing/program.js', import.meta.url),
      data: load,
      regions: loadRegions(load),
      checkOrder: true,
    })
    const counts = (): LoadCounts => readLoad(machine.memory, load).counts
    try {
      // Four services on each CPU.
      await until(machine, () => total(machine.memory, ServerCounters, 'listening') === 8)
      tellLoad(machine.memory, load, 'run')
      await until(machine, () => counts().exchanges >= 5000)
      tellLoad(machine.memory, load, 'rest')
      const isAtRest = ({ asked, exchanges, connects, closes }: LoadCounts) =>
        asked === exchanges && (workload !== 'short' || connects === closes)
      // Twice the same: nothing was put in between.
      await until(machine, () => {
        const before = counts()
        const after = counts()
        return isAtRest(before) && before.sent === after.sent && isAtRest(after)
      })
      const reading = readLoad(machine.memory, load)
      assert.deepEqual(loadErrors(reading), {})
      assert(reading.counts.forwarded > 1000)
      assert(reading.counts.taken > 0 && reading.counts.taken <= reading.counts.forwarded)
      assert.equal(reading.latency.total, reading.counts.exchanges)
      const share = reading.counts.sentWrong / reading.counts.sent
      assert(Math.abs(share - 0.5) < 0.05, `${share}`)
      if (workload === 'short') {
        await until(machine, () => total(machine.memory, ServerCounters, 'closed') === reading.counts.closes)
        assert.equal(total(machine.memory, ServerCounters, 'errors'), 0)
      }
    } finally {
      await machine.stop()
    }
  })
}
