// Starts the host that a program's net and dgram run on: opens the device, boots the machine, and waits until the host stands.
// With one CPU the stack runs on the program's own thread. With more each has a worker, and the program's thread joins
// as one more CPU, which has sockets and no flows.
import { configureInterface, interfaceMtu, QUEUE_LENGTH } from '../device/linux/interface.ts'
import { openTun } from '../device/linux/tun.ts'
import { type DeviceSpec, deviceRegions } from '../device/spec.ts'
import { CpuState } from '../kernel/cpustate.ts'
import { CpuBlock } from '../kernel/layout.ts'
import type { TraceMode } from '../kernel/trace/mode.ts'
import { boot } from '../machine/boot.ts'
import { InlineMachine } from '../machine/inline.ts'
import type { Machine } from '../machine/machine.ts'
import type { MachineOptions } from '../machine/options.ts'
import { ThreadsMachine } from '../machine/threads.ts'
import type { HostConfig, InterfaceConfig } from '../net/config.ts'
import { Stack } from '../stack.ts'
import { HandleHost } from './handle-host.ts'
import type { ProgramOptions } from './options.ts'

/** Reserved, and used from the first touch on. */
const MEMORY_BYTES = 512 * 1024 * 1024
/** How long the end of the process waits for the workers' own: files of captures are finished there. */
const STOP_MS = 500

export interface StartedHost {
  readonly host: HandleHost
  readonly machine: Machine
  /** The end of the process, which cannot wait for the event loop any more. */
  finish(): void
}

/** @throws KernelError those of `openTun` and `configureInterface`, for want of privileges first of all; CpuFailure */
export async function startHost(options: ProgramOptions): Promise<StartedHost> {
  const { cpus } = options
  const owners = Array.from({ length: cpus }, (_, i) => i)
  const config = hostConfig(options, owners, cpus === 1 ? [] : [cpus])
  const machine =
    cpus === 1
      ? await boot({ ...machineOptions(config, 1, options.trace), host: 'inline', signals: false })
      : await boot({
          ...machineOptions(config, cpus + 1, options.trace),
          host: 'threads',
          join: true,
          program: programUrl(),
          signals: false,
        })
  const stack = await stand(machine, config)
  const host = new HandleHost(stack)
  if (machine instanceof ThreadsMachine || machine instanceof InlineMachine) machine.unref()
  return { host, machine, finish: () => finish(host, machine) }
}

/**
 * The host of a program, its interface opened.
 * @param cpus those that own flows, and have a queue each
 * @param programs those that have sockets only
 */
export function hostConfig(
  options: ProgramOptions,
  cpus: readonly number[],
  programs: readonly number[] = [],
): HostConfig {
  const { discipline, groups, dispatch, layers } = options
  const concurrency = { discipline, ...(groups === undefined ? {} : { groups }), dispatch, layers }
  return { name: 'host', index: 0, cpus, programs, ...concurrency, ...attached(options, cpus.length) }
}

export function machineOptions(config: HostConfig, cpus: number, trace: TraceMode): MachineOptions {
  const regions = deviceRegions(config.interfaces.map(({ device }) => device))
  return { cpus, memoryBytes: MEMORY_BYTES, regions, data: config, trace }
}

/** The interface on the kernel's end, and ours. */
function attached(options: ProgramOptions, cpus: number): Pick<HostConfig, 'interfaces' | 'routes'> {
  const { device: kind, address, kernelAddress, gateway, pcap } = options
  if (kind === 'none') return { interfaces: [] }
  // The kernel and we leave checksums and segmentation to each other; what is recorded is as it would be on a wire.
  const vnetHeader = pcap === undefined
  // The descriptors stay open until the process ends, and the interface with them.
  const tun = openTun({ name: options.name, kind, queues: cpus, vnetHeader })
  try {
    configureInterface(tun.name, { address: kernelAddress, queueLength: QUEUE_LENGTH, up: true })
  } catch (error) {
    tun.close()
    throw error
  }
  const { name, descriptors } = tun
  const queues = Array.from({ length: cpus }, (_, i) => i)
  const plain: DeviceSpec = { kind, name, descriptors, vnetHeader, cpus: queues, mtu: interfaceMtu(name) }
  const device: DeviceSpec =
    pcap === undefined ? plain : { kind: 'capture', of: plain, path: pcap, wallUs: Date.now() * 1000 }
  const face: InterfaceConfig = { name, device, addresses: [address] }
  const beyond = { prefix: '0.0.0.0/0', interface: name }
  return { interfaces: [face], ...(gateway === undefined ? {} : { routes: [{ ...beyond, gateway }] }) }
}

function programUrl(): URL {
  return new URL(`./start-program${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)
}

/** The host's part on this thread's CPU, when all other parts are there. */
async function stand(machine: Machine, config: HostConfig): Promise<Stack> {
  const cpu = machine.cpu!
  const stack = new Stack(cpu, config)
  const ready = new Promise<void>((resolve) => {
    cpu.threads.start(`${config.name} starts`, function* (thread) {
      yield* stack.start(thread)
      resolve()
    })
  })
  if (machine instanceof ThreadsMachine || machine instanceof InlineMachine) machine.kick()
  await Promise.race([ready, machine.done])
  return stack
}

function finish(host: HandleHost, machine: Machine): void {
  host.loop.finish()
  machine.stop().catch(() => {})
  const { layout, memory } = machine
  if (!memory.shared) return
  const deadline = performance.now() + STOP_MS
  for (let cpu = 0; cpu < layout.cpus; cpu++) {
    const word = (layout.cpuBlock(cpu) + CpuBlock.offset.state) >> 2
    for (let left = STOP_MS; left > 0; left = deadline - performance.now()) {
      const state = Atomics.load(memory.i32, word)
      if (state === CpuState.stopped) break
      Atomics.wait(memory.i32, word, state, 1)
    }
  }
}
