// A host on a machine that a test has booted itself, with any device below it and Node's sockets on it: what createHost gives, where the test
// wants to see the machine as well.
import { boot } from '../src/machine/boot.ts'
import type { InlineMachine } from '../src/machine/inline.ts'
import { ThreadsMachine } from '../src/machine/threads.ts'
import type { HostConfig } from '../src/net/config.ts'
import { HandleHost } from '../src/node/handle-host.ts'
import { Host } from '../src/node/host.ts'
import { Stack } from '../src/stack.ts'

const MEMORY_BYTES = 256 * 1024 * 1024

/** One of those whose last CPU is on this thread's event loop. */
export type OwnMachine = InlineMachine | ThreadsMachine

export interface ThreadsOptions {
  /** Those with a worker thread each. The one on this thread comes behind them. */
  readonly workers: number
  /** What the workers run, and what they are given: each builds its parts of the hosts. */
  readonly program: URL
  readonly data: unknown
  readonly regions?: { readonly [name: string]: number }
  /** Prove the order of messages. Default false. */
  readonly checkOrder?: boolean
}

/** A machine of one CPU on this thread's event loop. */
export async function bootInline(): Promise<InlineMachine> {
  return (await boot({ host: 'inline', cpus: 1, memoryBytes: MEMORY_BYTES, signals: false })) as InlineMachine
}

/** A machine with worker threads, and one more CPU on this thread's event loop, for programs. */
export async function bootThreads({ workers, ...options }: ThreadsOptions): Promise<ThreadsMachine> {
  const cpus = workers + 1
  const machine = await boot({ ...options, cpus, memoryBytes: MEMORY_BYTES, join: true, signals: false })
  if (!(machine instanceof ThreadsMachine)) throw new Error('a machine of threads was booted')
  return machine
}

/** Resolves when all parts of the host stand, with the one that is on this thread. Rejects when the machine fails meanwhile. */
export async function standStack(machine: OwnMachine, config: HostConfig): Promise<Stack> {
  const cpu = machine.cpu!
  const stack = new Stack(cpu, config)
  const stands = new Promise<void>((resolve) => {
    cpu.threads.start(config.name, function* (this: void, thread) {
      yield* stack.start(thread)
      resolve()
    })
    machine.kick()
  })
  await Promise.race([stands, machine.done])
  return stack
}

/** Resolves when the host stands. */
export async function standHost(machine: OwnMachine, config: HostConfig): Promise<Host> {
  return hostOn(await standStack(machine, config))
}

/** Node's sockets on a stack of this thread. */
export function hostOn(stack: Stack): Host {
  return new Host(stack.context.config.name, new HandleHost(stack), async () => {})
}
