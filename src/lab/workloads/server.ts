// A host under load: the stack as it is used, with its clients made by a load device in the same memory, so that no operating
// system is measured. What is measured is the difference of two readings, so that warming up is in none of the figures.
//   cpus         CPUs of the host, each with a queue of the device
//   discipline   how a CPU comes to work on a connection (net/discipline.ts)
//   groups       of connp-l: connection groups; 0, the default: as many as the discipline has of itself
//   dispatch     how packets get to protocols (net/policy.ts): "direct", the default, "hybrid" or "deferred"
//   layers       boundaries that are queues with threads of their own, so many from the wire up; default 0
//   load         "exchange", "bulk-in", "bulk-out", "short" or "udp" (device/load/options.ts); or "http", requests to Node's own http
//   connections  of all CPUs together
//   bytes        of a question and of its answer, of all but http; default 64
//   offered      questions a second, of all CPUs together; 0, the default: a closed loop
//   share        instead of `offered`: the share of what the same host does in a closed loop, which is measured before
//   wrong        the share of the connections whose packets come to another CPU than their owner; default 0
//   batch        packets of a device in a turn and messages of a port at a time, 1 to 1024; 0, the default: the machine's
//                own, 64 and 32. IPIs are published by sixteens, or by so many where that is less
//   spin         turns in which a CPU looks for work before it sleeps; default: the machine's own, 2000
//   profile      true: how long locks are held and waited for is measured; that costs two looks at the clock for each
//   host         "threads", the default, or "inline": all CPUs on one event loop, which is for tests
import { availableParallelism } from 'node:os'
import type { LoadOptions } from '../../device/load/options.ts'
import { readLoad, tellLoad } from '../../device/load/reading.ts'
import { type BootOptions, boot, type Cpu, type Machine, total } from '../../kernel.ts'
import { type Readable, takeCounts } from '../../metrics/take.ts'
import { Settling, warmUpOf } from '../settle.ts'
import type { Impossible, Measured, Workload } from '../workload.ts'
import { httpMachine } from './http-machine.ts'
import httpProgram from './http-program.ts'
import { measured, progress, type Reading } from './server-figures.ts'
import program, { SERVICES, ServerCounters } from './server-program.ts'
import { offering, type Setup, serverMemory, setUp } from './server-setup.ts'

/** How much more there is to optimize of Node's http than of the stack alone. */
const HTTP_WARM_UP = 2.5
/** What the closed loop is measured for, of the measuring time, where a share of its rate is wanted. */
const SATURATION_TIME = 0.5
/** Opening 16384 connections takes one CPU about two seconds. */
const READY_SECONDS = 30

/** A machine that serves. `done` rejects when one of its CPUs threw. */
interface Served extends Pick<Machine, 'done' | 'stop'> {
  readonly machine: Readable
  /** What each of its CPUs opens. */
  readonly services: number
}

export default {
  name: 'server',
  async run(parameters, seconds, seed) {
    const setup = await setUp(parameters)
    const { load, host } = setup
    const cpus = load.cpus.length
    if (host === 'threads' && availableParallelism() < cpus) {
      return { impossible: `${cpus} CPUs that are busy at the same time need ${cpus} processors` }
    }
    if (setup.share === 0) return measureOnce(setup, seconds, seed, host === 'inline')
    const most = await measureOnce(setup, seconds * SATURATION_TIME, seed, true)
    if ('impossible' in most) return most
    const offered = most.metrics.rate! * setup.share
    const outcome = await measureOnce(offering(setup, offered), seconds, seed, host === 'inline')
    return 'impossible' in outcome ? outcome : { ...outcome, metrics: { ...outcome.metrics, offered } }
  },
} satisfies Workload

/** `stops`: otherwise its threads end with the process, for taking down thousands of connections takes a while. */
async function measureOnce(setup: Setup, seconds: number, seed: number, stops: boolean) {
  const served = await serve(setup, seed)
  try {
    return await measure(served, setup, seconds)
  } finally {
    if (stops) await served.stop()
  }
}

async function serve(setup: Setup, seed: number): Promise<Served> {
  const { load, config, host, isHttp } = setup
  const options = {
    ...setup.machine,
    cpus: load.cpus.length,
    seed,
    data: config,
    ...serverMemory(load),
  }
  const services = isHttp ? 1 : SERVICES
  if (isHttp && host === 'threads') return { ...httpMachine(options, config), services }
  const own = isHttp ? httpProgram : program
  const run: BootOptions['program'] =
    host === 'inline' ? (cpu: Cpu) => own(cpu, config) : new URL('./server-program.js', import.meta.url)
  const machine = await boot({ ...options, host, program: run })
  return { machine, done: machine.done, stop: () => machine.stop(), services }
}

/** The services are open, the load is told to run, and its connections are open. */
export async function begin(served: Pick<Served, 'machine' | 'done' | 'services'>, load: LoadOptions): Promise<void> {
  const { memory } = served.machine
  await until(served, 'its services are not open', () => {
    return total(memory, ServerCounters, 'listening') === load.cpus.length * served.services
  })
  tellLoad(memory, load, 'run')
  await until(served, 'its connections are not open', () => readLoad(memory, load).ready)
}

async function measure(served: Served, setup: Setup, seconds: number): Promise<Measured | Impossible> {
  const { load } = setup
  await begin(served, load)
  const warmUp = await warmedUp(served, setup, seconds)
  const before = read(served, load)
  await pause(served, seconds)
  const after = read(served, load)
  const outcome = measured(load, before, after, setup.machine.profileLocks)
  return 'impossible' in outcome ? outcome : { ...outcome, metrics: { ...outcome.metrics, warmUp } }
}

/** Until the rate has settled, but not for ever. Returns how long it took, in seconds. */
async function warmedUp(served: Served, { load, isHttp }: Setup, measuringSeconds: number): Promise<number> {
  const { memory } = served.machine
  const { stretch, least, most } = warmUpOf(measuringSeconds)
  // Of the time of each CPU; a load that leaves CPUs idle would never have spent it.
  const work = least * load.cpus.length * (isHttp ? HTTP_WARM_UP : 1)
  const settling = new Settling((load.offered ?? 0) > 0 ? 0 : work)
  const spentBefore = process.cpuUsage()
  const began = performance.now()
  let [at, done] = [began, progress(load, readLoad(memory, load).counts)]
  for (;;) {
    await pause(served, stretch)
    const now = performance.now()
    const { counts } = readLoad(memory, load)
    const doneNow = progress(load, counts)
    const tookSeconds = (now - began) / 1000
    const { user, system } = process.cpuUsage(spentBefore)
    const spentSeconds = (user + system) / 1e6
    const isSettled = settling.add((doneNow - done) / (now - at), spentSeconds)
    // What is more than the machine can do never settles, and is not measured.
    if (isSettled || tookSeconds >= most || counts.errorOverrun > 0) return tookSeconds
    at = now
    done = doneNow
  }
}

function read({ machine }: Served, load: LoadOptions): Reading {
  const { memory } = machine
  const broken = total(memory, ServerCounters, 'errors')
  return { ms: performance.now(), load: readLoad(memory, load), broken, counts: takeCounts(machine) }
}

/** Looks again and again until it holds. A machine that fails ends it. */
async function until(served: Pick<Served, 'done'>, fault: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + READY_SECONDS * 1000
  while (!holds()) {
    if (performance.now() > end) throw new Error(`after ${READY_SECONDS} s ${fault}`)
    await pause(served, 0.005)
  }
}

export async function pause({ done }: Pick<Served, 'done'>, seconds: number): Promise<void> {
  await Promise.race([done, new Promise((resolve) => setTimeout(resolve, seconds * 1000))])
}
