// What each worker of a soak's machine runs: its parts of the hosts, and what it is asked for.
import type { Cpu } from '../../src/kernel/cpu.ts'
import type { HostConfig } from '../../src/net/config.ts'
import { Stack } from '../../src/stack.ts'
import { answerAsMember } from './member.ts'

export default function memberProgram(cpu: Cpu, hosts: readonly HostConfig[]): void {
  const stacks = hosts.map((config) => new Stack(cpu, config))
  answerAsMember(cpu, stacks)
  cpu.threads.start('hosts', function* (thread) {
    for (const stack of stacks) yield* stack.start(thread)
  })
}
