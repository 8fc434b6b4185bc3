// A thread of a machine whose CPUs serve HTTP: a CPU on the thread's event loop. Started by http-machine.ts only.
import { parentPort, workerData } from 'node:worker_threads'
import { Instance } from '../../machine/instance.ts'
import type { InstanceData } from './http-machine.ts'
import program from './http-program.ts'

const { start, config } = workerData as InstanceData

// Told to end; and what keeps the thread until its server listens.
parentPort!.on('message', () => process.exit())
const instance = new Instance(start, (failure) => {
  setImmediate(() => {
    throw failure
  })
})
program(instance.cpu, config)
instance.driver.schedule()
