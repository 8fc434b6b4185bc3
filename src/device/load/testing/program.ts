// What the CPUs of thread.test.ts run: the server of server.ts, under the load that they are handed.
import type { Cpu } from '../../../kernel.ts'
import type { LoadOptions } from '../options.ts'
import { startServer } from './server.ts'

export default function program(cpu: Cpu, load: LoadOptions): void {
  startServer(cpu, load)
}
