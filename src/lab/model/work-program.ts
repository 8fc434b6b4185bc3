// What the CPU runs whose work is measured (work.ts): the workload's own program, and beside it two roll-ups that take the time between
// them, in which the programs are told and answer.
import { type Cpu, counterSet } from '../../kernel.ts'
import type { HostConfig } from '../../stack.ts'
import server from '../workloads/server-program.ts'

/** Times are µs. */
export const WorkCounters = counterSet('lab work', ['programs'] as const)

/** Sockets tell programs in roll-up 2 (socket/tcp.ts). */
const BEFORE = 1.5
const BEHIND = 2.5

export default function program(cpu: Cpu, config: HostConfig): void {
  server(cpu, config)
  const count = cpu.counterPage.open(WorkCounters)
  let began = 0
  cpu.addRollup(BEFORE, () => {
    began = cpu.clock.now()
  })
  cpu.addRollup(BEHIND, () => {
    count[WorkCounters.index.programs]! += cpu.clock.now() - began
  })
}
