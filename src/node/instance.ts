// A worker of `damselfly run --instances`: a CPU on this thread's event loop, and beside it the program, whose servers get the
// connections of this CPU. Started by instances.ts only.
import module from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import type { InstanceData, InstanceReport } from './instances.ts'
import { patch, preferInet } from './patch.ts'

const { start, config, program } = workerData as InstanceData
const port = parentPort!

// Before the machine is loaded: much of Node loads net.
const runOn = patch()!
const { Instance } = await import('../machine/instance.ts')
const { Stack } = await import('../stack.ts')
const { HandleHost } = await import('./handle-host.ts')

const instance = new Instance(start, (failure) => {
  // Nobody here can go on without the CPU.
  setImmediate(() => {
    throw failure
  })
})
const stack = new Stack(instance.cpu, config)
await new Promise<void>((resolve) => {
  instance.cpu.threads.start(`${config.name} starts`, function* (thread) {
    yield* stack.start(thread)
    resolve()
  })
  instance.driver.schedule()
})
const host = new HandleHost(stack, true)
runOn(host)
await preferInet()

process.on('exit', () => host.loop.finish())
port.on('message', () => process.exit())
port.unref()
// Nothing is left to do: but the CPU has flows of the others' neighbours, and stays.
process.once('beforeExit', () => {
  host.loop.hold()
  port.postMessage({ kind: 'idle', code: Number(process.exitCode ?? 0) } satisfies InstanceReport)
})

// As Node itself does it with a file that it is started with, in whatever form.
process.argv[1] = program
const { runMain } = module as unknown as { runMain(file: string): void }
runMain(program)
