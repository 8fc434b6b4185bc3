// A machine of one CPU, on a thread of its own, that serves the services of service.ts on a TUN device.
import { openTun, type TunHandle } from '../../device/linux/tun.ts'
import { boot, type Machine, total } from '../../kernel.ts'
import { HostCounters } from '../../net/counters.ts'
import type { ServiceData } from './service.ts'

/** The stack's address on the device, whose other end is 10.77.0.1. */
export const SERVICE_ADDRESS = '10.77.0.2'

/** Opens the device: one queue, with super-segments both ways. */
export function openServiceTun(name: string): TunHandle {
  return openTun({ name, kind: 'tun', queues: 1, vnetHeader: true })
}

/** Boots the machine on an open device; resolves when the services listen. `spins`: its CPU never sleeps. */
export async function serviceMachine(tun: TunHandle, spins: boolean): Promise<Machine> {
  const { name, descriptors, vnetHeader } = tun
  const device = { kind: 'tun', name, descriptors, vnetHeader, cpus: [0] } as const
  const interfaces = [{ name, device, addresses: [`${SERVICE_ADDRESS}/24`] }]
  const data: ServiceData = { host: { name: 'services', index: 0, cpus: [0], interfaces } }
  const machine = await boot({
    cpus: 1,
    program: new URL('./service.js', import.meta.url),
    data,
    memoryBytes: 512 * 1024 * 1024,
    ...(spins ? { spinTurns: Number.POSITIVE_INFINITY } : {}),
  })
  await untilHosts(machine, 1)
  return machine
}

/** Resolves when `parts` parts of hosts (each a host on a CPU) are ready; rejects when a CPU threw before. */
export async function untilHosts(machine: Machine, parts: number): Promise<void> {
  const failed = machine.done.then(() => {})
  while (total(machine.memory, HostCounters, 'ready') < parts) {
    await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 5))])
  }
}
