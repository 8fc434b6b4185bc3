// Waits until the hosts of a machine stand on all of their CPUs.
import { total } from '../kernel/counters.ts'
import type { Machine } from '../machine/machine.ts'
import { HostCounters } from '../net/counters.ts'
import type { UpData } from './up-program.ts'

/** Resolves when every host of `data` is ready on every CPU that it has; rejects when a CPU threw before. */
export async function untilReady(machine: Machine, data: UpData): Promise<void> {
  const parts = data.hosts.reduce((sum, { config }) => sum + config.cpus.length, 0)
  const failed = machine.done.then(() => {})
  while (total(machine.memory, HostCounters, 'ready') < parts) {
    await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 5))])
  }
}
