// What the tests run as a process of its own: boots a machine as its arguments say, and prints a line when it is up.
//   child.js <host> <what>
import { boot } from '../boot.ts'
import type { BootOptions } from '../options.ts'
import type { Failing } from './echo-program.ts'

const [host, what] = process.argv.slice(2) as [BootOptions['host'] & string, string]
const program = new URL(`./echo-program${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)
const options: BootOptions = { cpus: 2, host, program, memoryBytes: 16 * 1024 * 1024 }

if (what === 'stop') {
  const machine = await boot({ ...options, join: host === 'threads' })
  console.log('up')
  await machine.stop()
} else if (what === 'forgotten failure') {
  const data: Failing = { cpu: 1, where: 'thread' }
  await boot({ ...options, data })
  console.log('up')
} else if (what === 'two machines') {
  await boot(options)
  await boot(options)
  // Something that keeps the process alive, whatever becomes of the machines.
  setInterval(() => {}, 1000)
  console.log('up')
} else if (what === 'own handler') {
  const machine = await boot(options)
  process.once('SIGTERM', () => {})
  process.on('SIGTERM', () => void machine.settled.then(() => console.log('handled')))
  console.log('up')
} else {
  await boot(options)
  setInterval(() => {}, 1000)
  console.log('up')
}
