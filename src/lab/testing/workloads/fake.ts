// A workload for the tests of the laboratory: it measures nothing, and can go wrong in each way that a real one can. Every
// start is written down in the file that the environment names, with the process's id.
import { appendFileSync, existsSync } from 'node:fs'
import type { CellParameters } from '../../experiment.ts'
import type { Impossible, Measured } from '../../workload.ts'

export const STARTS = 'LAB_TEST_STARTS'
/** A cell with `how: "wait"` ends only when this file exists. */
export const GATE = 'LAB_TEST_GATE'

export default {
  name: 'fake',
  async run(parameters: CellParameters, seconds: number, seed: number): Promise<Measured | Impossible> {
    const starts = process.env[STARTS]
    if (starts !== undefined) appendFileSync(starts, `${process.pid} ${JSON.stringify(parameters)}\n`)
    const { how, size = 1 } = parameters
    switch (how) {
      case 'throw':
        throw new Error('the fake was told to throw')
      case 'exit':
        console.error('first words\nlast words')
        process.exit(7)
        break
      case 'crash':
        process.kill(process.pid, 'SIGKILL')
        break
      case 'silent':
        process.exit(0)
        break
      case 'text':
        process.stdout.write('{"metrics":{"rate":1\n', () => process.exit(0))
        await new Promise(() => {})
        break
      case 'impossible':
        return { impossible: 'the fake needs another machine' }
      case 'nan':
        return { metrics: { rate: Number.NaN } }
      case 'wait':
        while (!existsSync(process.env[GATE]!)) await new Promise((resolve) => setTimeout(resolve, 5))
        break
      case 'hang':
        setInterval(() => {}, 1000)
        await new Promise(() => {})
        break
      case 'stubborn':
        process.on('SIGTERM', () => {})
        setInterval(() => {}, 1000)
        await new Promise(() => {})
        break
    }
    console.log('what a workload prints is nobody’s business')
    return {
      metrics: { rate: 1000 * Number(size), seed, milliseconds: seconds * 1000 },
      tables: { waits: { columns: ['point', 'µs'], rows: [['ring', Number(size)]] } },
    }
  },
}
