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
//   wrong        the share of the connections whose packets come to another CPU than their owner; default 0
//   host         "threads", the default, or "inline": all CPUs on one event loop, which is for tests
import { availableParallelism } from 'node:os'
import { type LoadOptions, type LoadWorkload, loadPlan } from '../../device/load/options.ts'
import { readLoad, tellLoad } from '../../device/load/reading.ts'
import { loadRegions } from '../../device/load/region.ts'
import { type BootOptions, boot, type Cpu, type Machine, total } from '../../kernel.ts'
import { type Readable, takeCounts } from '../../metrics/take.ts'
import { DISCIPLINES, type Discipline } from '../../net/discipline.ts'
import { dispatchPlan, LAYERS, parseDispatch } from '../../net/policy.ts'
import type { HostConfig } from '../../stack.ts'
import type { CellParameters } from '../experiment.ts'
import type { Impossible, Measured, Workload } from '../workload.ts'
import { httpMachine } from './http-machine.ts'
import httpProgram, { answerBytes, REQUEST } from './http-program.ts'
import { measured, type Reading } from './server-figures.ts'
import program, { Port, SERVICES, ServerCounters } from './server-program.ts'

const SERVER = '10.0.0.1'
/** Of the measuring time, before it. */
const WARM_UP = 0.3
/** At least: until then most of the stack is not optimized, and of Node's http for longer. */
const WARM_UP_SECONDS = { stack: 0.5, http: 1 } as const
/** Opening 16384 connections takes one CPU about two seconds. */
const READY_SECONDS = 30
const MEMORY_BYTES = 256 * 1024 * 1024
/** Of an established connection: its record, its timers, and the packets that its window lets wait. */
const CONNECTION_BYTES = 32 * 1024

interface Setup {
  readonly load: LoadOptions
  readonly config: HostConfig
  readonly host: 'threads' | 'inline'
  readonly isHttp: boolean
}

/** A machine that serves. `done` rejects when one of its CPUs threw. */
interface Served extends Pick<Machine, 'done' | 'stop'> {
  readonly machine: Readable
  /** What each of its CPUs opens. */
  readonly services: number
  readonly warmUpSeconds: number
}

export default {
  name: 'server',
  async run(parameters, seconds, seed) {
    const setup = await setUp(parameters)
    const cpus = setup.load.cpus.length
    if (setup.host === 'threads' && availableParallelism() < cpus) {
      return { impossible: `${cpus} CPUs that are busy at the same time need ${cpus} processors` }
    }
    const served = await serve(setup, seed)
    try {
      return await measure(served, setup.load, seconds)
    } finally {
      // Threads end with the process: taking down thousands of connections is time in which nothing is measured.
      if (setup.host === 'inline') await served.stop()
    }
  },
} satisfies Workload

async function serve({ load, config, host, isHttp }: Setup, seed: number): Promise<Served> {
  const options = {
    cpus: load.cpus.length,
    seed,
    data: config,
    memoryBytes: MEMORY_BYTES + load.connections * CONNECTION_BYTES,
    regions: loadRegions(load),
  }
  const of = isHttp
    ? { services: 1, warmUpSeconds: WARM_UP_SECONDS.http }
    : { services: SERVICES, warmUpSeconds: WARM_UP_SECONDS.stack }
  if (isHttp && host === 'threads') return { ...httpMachine(options, config), ...of }
  const own = isHttp ? httpProgram : program
  const run: BootOptions['program'] =
    host === 'inline' ? (cpu: Cpu) => own(cpu, config) : new URL('./server-program.js', import.meta.url)
  const machine = await boot({ ...options, host, program: run })
  return { machine, done: machine.done, stop: () => machine.stop(), ...of }
}

async function measure(served: Served, load: LoadOptions, seconds: number): Promise<Measured | Impossible> {
  const { memory } = served.machine
  await until(served, 'its services are not open', () => {
    return total(memory, ServerCounters, 'listening') === load.cpus.length * served.services
  })
  tellLoad(memory, load, 'run')
  await until(served, 'its connections are not open', () => readLoad(memory, load).ready)
  await pause(served, Math.max(seconds * WARM_UP, served.warmUpSeconds))
  const before = read(served, load)
  await pause(served, seconds)
  const after = read(served, load)
  return measured(load, before, after)
}

function read({ machine }: Served, load: LoadOptions): Reading {
  const { memory } = machine
  const broken = total(memory, ServerCounters, 'errors')
  return { ms: performance.now(), load: readLoad(memory, load), broken, counts: takeCounts(machine) }
}

/** Looks again and again until it holds. A machine that fails ends it. */
async function until(served: Served, fault: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + READY_SECONDS * 1000
  while (!holds()) {
    if (performance.now() > end) throw new Error(`after ${READY_SECONDS} s ${fault}`)
    await pause(served, 0.005)
  }
}

async function pause({ done }: Served, seconds: number): Promise<void> {
  await Promise.race([done, new Promise((resolve) => setTimeout(resolve, seconds * 1000))])
}

/** @throws RangeError for parameters that cannot be, KernelError for a load that cannot be */
async function setUp(parameters: CellParameters): Promise<Setup> {
  const { cpus, discipline, groups = 0, load: workload, connections, bytes = 64 } = parameters
  const { offered = 0, wrong = 0, host = 'threads', dispatch = 'direct', layers = 0 } = parameters
  const numbers = { cpus, connections, bytes, offered, wrong, groups, layers }
  for (const [name, value] of Object.entries(numbers)) {
    if (typeof value !== 'number') throw new RangeError(`${name} is ${value}: give a number`)
  }
  if (!(DISCIPLINES as readonly unknown[]).includes(discipline)) {
    throw new RangeError(`discipline is ${discipline}: give one of ${DISCIPLINES.join(', ')}`)
  }
  if (!(Number.isInteger(layers) && Number(layers) >= 0 && Number(layers) <= LAYERS.length)) {
    throw new RangeError(`layers is ${layers}: give a whole number from 0 to ${LAYERS.length}`)
  }
  const queues = {
    // Behind a layer a protocol is deferred, and "direct" is what is not said.
    dispatch: dispatch === 'direct' ? {} : parseDispatch(String(dispatch)),
    layers: LAYERS.slice(0, Number(layers)),
  }
  dispatchPlan(queues)
  if (host !== 'threads' && host !== 'inline') throw new RangeError(`host is ${host}: give "threads" or "inline"`)
  const all = Array.from({ length: Number(cpus) }, (_, cpu) => cpu)
  const isHttp = workload === 'http'
  const load: LoadOptions = {
    name: 'load0',
    cpus: all,
    workload: isHttp ? 'exchange' : (workload as LoadWorkload),
    connections: Number(connections),
    server: SERVER,
    port: isHttp ? Port.http : workload === 'bulk-in' ? Port.sink : workload === 'bulk-out' ? Port.source : Port.echo,
    ...(isHttp ? { question: REQUEST, answerBytes: await answerBytes() } : { bytes: Number(bytes) }),
    wrong: Number(wrong),
    ...(offered === 0 ? {} : { offered: Number(offered) / all.length }),
    begins: false,
  }
  // The device says what is wrong with the rest.
  loadPlan(load)
  const config = { ...hostOf(load, discipline as Discipline, Number(groups)), ...queues }
  return { load, host, isHttp, config }
}

function hostOf(load: LoadOptions, discipline: Discipline, groups: number): HostConfig {
  const { name, cpus } = load
  return {
    name: 'server',
    index: 0,
    cpus,
    interfaces: [{ name, device: { kind: 'load', ...load }, addresses: [`${SERVER}/24`] }],
    routes: [{ prefix: '0.0.0.0/0', interface: name }],
    discipline,
    ...(groups === 0 ? {} : { groups }),
  }
}
