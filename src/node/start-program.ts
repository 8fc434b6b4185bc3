// What each worker of a program's machine runs: its part of the host. Loaded by start.ts's machine, and by a test's own.
import type { Cpu } from '../kernel/cpu.ts'
import type { HostConfig } from '../net/config.ts'
import { Stack } from '../stack.ts'

export default function startProgram(cpu: Cpu, config: HostConfig): void {
  const stack = new Stack(cpu, config)
  cpu.threads.start(`${config.name} starts`, (thread) => stack.start(thread))
}
