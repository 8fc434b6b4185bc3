// What the workload "server" is made of, by the parameters of its cell: the load, the host, and the memory for both. Also for the model of
// it (model.ts), which runs the same on a machine that is simulated.
import { type LoadOptions, type LoadWorkload, loadPlan } from '../../device/load/options.ts'
import { loadRegions } from '../../device/load/region.ts'
import { batchesOf } from '../../kernel/batch.ts'
import type { BootOptions } from '../../kernel.ts'
import { DISCIPLINES, type Discipline } from '../../net/discipline.ts'
import { dispatchPlan, LAYERS, parseDispatch } from '../../net/policy.ts'
import type { HostConfig } from '../../stack.ts'
import type { CellParameters } from '../experiment.ts'
import { answerBytes, REQUEST } from './http-program.ts'
import { Port } from './server-program.ts'

const SERVER = '10.0.0.1'
/** IPIs are published by so many at most: the machine's own limit. */
const IPI_BATCH = 16
/** As many turns as the machine has of itself. */
const USUAL = -1
const MEMORY_BYTES = 256 * 1024 * 1024
/** Of an established connection: its record, its timers, and the packets that its window lets wait. */
const CONNECTION_BYTES = 32 * 1024

export interface Setup {
  readonly load: LoadOptions
  readonly config: HostConfig
  readonly host: 'threads' | 'inline'
  readonly machine: Pick<BootOptions, 'batches' | 'spinTurns' | 'profileLocks'>
  /** Of the closed loop's rate; 0: `load` says what is offered. */
  readonly share: number
  readonly isHttp: boolean
}

/** What a machine needs to be booted with. */
export function serverMemory(load: LoadOptions) {
  return { memoryBytes: MEMORY_BYTES + load.connections * CONNECTION_BYTES, regions: loadRegions(load) }
}

/** @throws RangeError for parameters that cannot be, KernelError for a load that cannot be */
export async function setUp(parameters: CellParameters): Promise<Setup> {
  const { cpus, discipline, groups = 0, load: workload, connections, bytes = 64 } = parameters
  const { offered = 0, share = 0, wrong = 0, batch = 0, spin = USUAL, profile = false, host = 'threads' } = parameters
  const { dispatch = 'direct', layers = 0 } = parameters
  const numbers = { cpus, connections, bytes, offered, share, wrong, groups, batch, spin, layers }
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
  if (typeof profile !== 'boolean') throw new RangeError(`profile is ${profile}: give true or false`)
  if (Number(share) < 0 || (share !== 0 && offered !== 0)) {
    throw new RangeError(`share is ${share} and offered ${offered}: give one of them, above 0`)
  }
  // The machine says what is wrong with the rest.
  const limit = { device: Number(batch), port: Number(batch), ipi: Math.min(Number(batch), IPI_BATCH) }
  if (batch !== 0) batchesOf(limit)
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
  // The device says what is wrong with these.
  loadPlan(load)
  return {
    load,
    host,
    share: Number(share),
    isHttp,
    config: { ...hostOf(load, discipline as Discipline, Number(groups)), ...queues },
    machine: {
      ...(batch === 0 ? {} : { batches: limit }),
      ...(spin === USUAL ? {} : { spinTurns: Number(spin) }),
      profileLocks: profile,
    },
  }
}

/** The same, with an open loop of so many questions a second. */
export function offering(setup: Setup, offered: number): Setup {
  const load = { ...setup.load, offered: offered / setup.load.cpus.length }
  const [description, ...others] = setup.config.interfaces
  const interfaces = [{ ...description!, device: { kind: 'load' as const, ...load } }, ...others]
  return { ...setup, load, config: { ...setup.config, interfaces } }
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
