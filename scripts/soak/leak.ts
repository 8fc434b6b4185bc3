// Leaks on purpose, by which a soak shows that it finds them: some of one kind for each round, on one CPU.
import { closeSync, openSync } from 'node:fs'
import type { Cpu } from '../../src/kernel/cpu.ts'

export const LEAKS = ['heap', 'slab', 'timer', 'port', 'descriptor'] as const
export type Leak = (typeof LEAKS)[number]

/** Of each round: less than one for each connection. */
const EACH = 8
const HEAP_BYTES = 16_384
const SLAB_BYTES = 500
const NEVER_US = 1e12

/** What was leaked on this CPU stays until it ends. */
export function leak(cpu: Cpu, kind: Leak): void {
  const kept = cpu.slot(KEPT, () => [] as unknown[])
  for (let i = 0; i < EACH; i++) {
    if (kind === 'heap') kept.push(Array.from({ length: HEAP_BYTES / 8 }, () => cpu.random.real()))
    else if (kind === 'slab') cpu.slab.allocate(SLAB_BYTES)
    else if (kind === 'timer') cpu.timers.after(NEVER_US, () => {})
    else if (kind === 'port') cpu.ports.create({})
    else {
      const descriptor = openSync('/dev/null', 'r')
      cpu.onStop(() => closeSync(descriptor))
    }
    // A CPU has a thousand ports, and a process as many descriptors: one at a time lasts longer.
    if (kind === 'port' || kind === 'descriptor') break
  }
}

const KEPT = Symbol('leaked')
