// Messages between two CPUs on real threads: sent by so many in a turn of the run loop, one way or each answered.
//   way    "one-way": the sender goes on as its messages are done; "call": it waits for the answers of one batch
//   batch  messages sent before the turn ends, when what is staged is published: 1 to 256
import { availableParallelism } from 'node:os'
import { boot, CpuCounters, type Machine, total } from '../../kernel.ts'
import type { CellParameters } from '../experiment.ts'
import { handoffTable } from '../handoff.ts'
import type { Measured, Workload } from '../workload.ts'
import { Result, WINDOW } from './message-program.ts'

export default {
  name: 'message',
  async run(parameters, seconds, seed) {
    const { way, batch } = check(parameters)
    if (availableParallelism() < 2)
      return { impossible: 'two CPUs that look for work all the time need two processors' }
    const machine = await boot({
      cpus: 2,
      seed,
      program: new URL('./message-program.js', import.meta.url),
      data: { way, batch, seconds },
      regions: { result: 64 },
      // A sleep and its wake-up are measured elsewhere: here they would hide what a message costs.
      spinTurns: Number.POSITIVE_INFINITY,
    })
    const { f64, layout } = machine.memory
    const result = layout.region('result').address >> 3
    const isFinished = () => f64[result + Result.finished] === 1
    while (!isFinished()) await Promise.race([machine.done, new Promise((resolve) => setTimeout(resolve, 5))])
    await machine.stop()
    return measured(machine, f64.subarray(result, result + 8))
  },
} satisfies Workload

function measured(machine: Machine, result: Float64Array): Measured {
  const messages = result[Result.messages]!
  const elapsedUs = result[Result.elapsedUs]!
  if (messages === 0)
    throw new Error(`no message was sent in ${elapsedUs / 1e6} s: is the machine busy with something else?`)
  // The counters are of the whole run with its warming up, and so is this.
  const all = result[Result.allMessages]!
  return {
    metrics: {
      rate: messages / (elapsedUs / 1e6),
      nanoseconds: (elapsedUs * 1000) / messages,
      publishes: total(machine.memory, CpuCounters, 'ipiPublishes') / all,
      doorbells: total(machine.memory, CpuCounters, 'doorbellsRung') / all,
    },
    tables: { handoffs: handoffTable(machine.handoffs()) },
  }
}

function check({ way, batch }: CellParameters): { way: string; batch: number } {
  if (way !== 'one-way' && way !== 'call') throw new RangeError(`way is ${way}: give "one-way" or "call"`)
  if (typeof batch !== 'number' || !(Number.isInteger(batch) && batch >= 1 && batch <= WINDOW)) {
    throw new RangeError(`batch is ${batch}: give a whole number from 1 to ${WINDOW}`)
  }
  return { way, batch }
}
