// The process that one run of one cell is. A line of JSON on standard input says what to measure; the last line on standard
// output is the outcome. What a workload prints before is not looked at. When standard input ends, the laboratory is gone, and
// so is this process: nothing goes on measuring for nobody.
import { createInterface } from 'node:readline'
import type { CellRequest } from './child.ts'
import type { Outcome } from './outcome.ts'
import { loadWorkload } from './workload.ts'

async function run({ module, parameters, seconds, seed, calibration }: CellRequest): Promise<Outcome> {
  try {
    const workload = await loadWorkload(module)
    return await workload.run(parameters, seconds, seed, calibration)
  } catch (error) {
    // The whole of it for whoever looks at a failing cell; the record has its sentence.
    console.error(error)
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

const lines = createInterface({ input: process.stdin })
lines.on('close', () => process.exit(1))
lines.once('line', async (line) => {
  const outcome = await run(JSON.parse(line) as CellRequest)
  // Threads, devices and sockets that the workload left end with the process.
  process.stdout.write(`\n${JSON.stringify(outcome)}\n`, () => process.exit('error' in outcome ? 1 : 0))
})
