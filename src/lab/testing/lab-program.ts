// "damselfly lab" with the experiments of the tests, as a process that can be killed. What goes wrong is one line and exit code 1.
import { lab } from '../../cli/lab.ts'
import { FAKE_LABORATORY } from './fake.ts'

try {
  await lab(process.argv.slice(2), FAKE_LABORATORY)
} catch (error) {
  console.error(`${(error as Error).name}: ${(error as Error).message}`)
  process.exitCode = 1
}
