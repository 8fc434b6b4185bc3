// A host under load in virtual time: what uncounted.test.ts runs of the stack that counts, and of the one that does not, each time from
// this file of the one or the other tree. With one seed both have to do the same.
import type { LoadOptions, LoadWorkload } from '../../src/device/load/options.ts'
import { type LoadCounts, readLoad, tellLoad } from '../../src/device/load/reading.ts'
import { loadRegions } from '../../src/device/load/region.ts'
import type { TraceMode } from '../../src/kernel/trace/mode.ts'
import program, { Port } from '../../src/lab/workloads/server-program.ts'
import { simulate } from '../../src/machine/sim.ts'
import { nudge } from '../../src/machine/testing/sim.ts'
import type { Discipline } from '../../src/net/discipline.ts'

export interface Simulated {
  /** Of which CPU took which turn when. */
  readonly hash: number
  readonly load: LoadCounts
  /** The words of the machine's memory for counters and hand-offs that are not 0: counters by `set.name`, hand-offs by point. */
  readonly counted: readonly string[]
}

/** Until all listen, and how long the load then runs. */
const READY_US = 5000
const US = 10_000

export function simulated(discipline: Discipline, workload: LoadWorkload, trace: TraceMode = 'off'): Simulated {
  const cpus = [0, 1]
  const load: LoadOptions = {
    name: 'load0',
    cpus,
    workload,
    connections: 32,
    server: '10.0.0.1',
    port: workload === 'bulk-in' ? Port.sink : Port.echo,
    wrong: 0.5,
    begins: false,
  }
  const memoryBytes = 128 * 1024 * 1024
  const machine = simulate({ cpus: 2, seed: 4, turnUs: 10, memoryBytes, trace, regions: loadRegions(load) })
  for (const cpu of machine.cpus) {
    program(cpu, {
      name: 'server',
      index: 0,
      cpus,
      interfaces: [{ name: 'load0', device: { kind: 'load', ...load }, addresses: ['10.0.0.1/24'] }],
      routes: [{ prefix: '0.0.0.0/0', interface: 'load0' }],
      discipline,
    })
  }
  machine.run({ untilUs: READY_US })
  tellLoad(machine.memory, load, 'run')
  nudge(machine, 0)
  nudge(machine, 1)
  machine.run({ untilUs: READY_US + US })
  const result = {
    hash: machine.traceHash,
    load: readLoad(machine.memory, load).counts,
    counted: [
      ...machine.counters().flatMap(({ set, values }) => {
        const used = Object.entries(values).filter(([, value]) => value !== 0)
        return used.map(([name]) => `${set}.${name}`)
      }),
      ...machine.handoffs().map(({ point }) => point),
    ],
  }
  machine.stop().catch(() => {})
  return result
}
