// A host on a machine that a test has booted itself, with any device below it and Node's sockets on it: what createHost gives, where the test
// wants to see the machine as well.
import { boot } from '../src/machine/boot.ts'
import type { InlineMachine } from '../src/machine/inline.ts'
import type { HostConfig } from '../src/net/config.ts'
import { HandleHost } from '../src/node/handle-host.ts'
import { Host } from '../src/node/host.ts'
import { Stack } from '../src/stack.ts'

const MEMORY_BYTES = 256 * 1024 * 1024

/** A machine of one CPU on this thread's event loop. */
export async function bootInline(): Promise<InlineMachine> {
  return (await boot({ host: 'inline', cpus: 1, memoryBytes: MEMORY_BYTES, signals: false })) as InlineMachine
}

/** Resolves when the host stands. */
export async function standHost(machine: InlineMachine, config: HostConfig): Promise<Host> {
  const stack = new Stack(machine.cpu, config)
  await new Promise<void>((resolve) => {
    machine.cpu.threads.start(config.name, function* (this: void, thread) {
      yield* stack.start(thread)
      resolve()
    })
    machine.kick()
  })
  return new Host(config.name, new HandleHost(stack), async () => {})
}
