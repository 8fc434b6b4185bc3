// A process that inspector.test.ts looks into: a machine of two CPUs on the host that its argument names.
import { boot } from '../src/kernel.ts'

const [, , host] = process.argv
await boot({
  host: host === 'threads' ? 'threads' : 'inline',
  cpus: 2,
  memoryBytes: 8 * 1024 * 1024,
  trace: 'all',
  signals: false,
  program: new URL('./inspector-program.js', import.meta.url),
})
setInterval(() => {}, 1000)
