// "damselfly lab" with the experiments of the tests, as a process that can be killed. What goes wrong is one line and exit code 1.
import { lab } from '../../cli/lab.ts'
import { FAKE_WORKLOADS, fakeExperiment } from './fake.ts'

const experiments = [
  fakeExperiment('sizes', { size: [1, 2, 3] }),
  fakeExperiment('gate', { how: ['wait', 'well'] }),
  fakeExperiment('faults', { how: ['throw', 'impossible', 'well'] }),
  fakeExperiment('empty', { size: [] }),
]

try {
  await lab(process.argv.slice(2), { experiments, workloads: FAKE_WORKLOADS })
} catch (error) {
  console.error(`${(error as Error).name}: ${(error as Error).message}`)
  process.exitCode = 1
}
