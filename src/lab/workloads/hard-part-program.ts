// What each CPU of the workload "hard-part" runs: one part in one form, worked on by as many packets as make a turn, again and
// again.
import type { Cpu, Thread } from '../../kernel.ts'
import type { HostConfig } from '../../net/config.ts'
import { NetContext } from '../../net/context.ts'
import { hostCachePart } from './hard-part-hostcache.ts'
import { Probe } from './hard-part-probe.ts'
import { reassemblyPart } from './hard-part-reassembly.ts'
import { routePart } from './hard-part-route.ts'
import { HardPartCounters, type HardPartData, type Part, type PartSetup, type WorkingPart } from './hard-part-setup.ts'

const MAKERS: {
  readonly [part in Part]: (thread: Thread, setup: PartSetup) => Generator<void, WorkingPart, void>
} = { routes: routePart, hostcache: hostCachePart, reassembly: reassemblyPart }

export default function program(cpu: Cpu, data: HardPartData): void {
  const cpus = Array.from({ length: data.cpus }, (_, i) => i)
  const config: HostConfig = { name: 'hard part', index: 0, cpus, interfaces: [] }
  const count = cpu.counterPage.open(HardPartCounters)
  const context = new NetContext(cpu, config)
  cpu.threads.start('hard part', function* (this: void, thread) {
    const part = yield* MAKERS[data.part](thread, { context, data, count })
    const probe = part.visible === undefined ? undefined : new Probe(cpu, part.visible)
    count[HardPartCounters.index.ready]!++
    for (;;) {
      // Who waits for others gives the processor away after a while, as one who waits for a lock does.
      if (part.work() === 0) cpu.host.relax(cpu)
      probe?.look()
      yield* thread.pause()
    }
  })
}
