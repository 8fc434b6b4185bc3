// A structure that all CPUs share: one object in the machine's memory, found by its name. For the rivals of this folder, each of
// which is what a part of the stack would be if its CPUs shared it under a lock. None of them is a part of the stack.
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'

/** An object of `bytes` bytes, cleared, which other CPUs find by `name` once `publish` was called. */
export function allocateCleared(cpu: Cpu, bytes: number): Address {
  const address = cpu.slab.allocate(bytes)
  cpu.memory.u8.fill(0, address, address + bytes)
  return address
}

/** Makes it known: what was written before is seen by whoever finds it. @throws KernelError EEXIST */
export function publish(cpu: Cpu, name: string, address: Address): void {
  cpu.names.add(name, address)
}

export function unpublish(cpu: Cpu, name: string): void {
  cpu.names.remove(name)
}

/** Whether somebody has published it. */
export function isPublished(cpu: Cpu, name: string): boolean {
  return cpu.names.find(name) !== 0
}

/** Where it is. It was published. */
export function published(cpu: Cpu, name: string): Address {
  const address = cpu.names.find(name)
  assert(address !== 0, 'what all share is made before it is used')
  return address
}
