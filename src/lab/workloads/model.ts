// The workload "server" on a machine that is simulated with costs: how fast it would be with so many CPUs, by a calibration. Where the cell
// asks for it the same is measured for real beside it, so that the model's error can be stated.
//   cpus, discipline, groups, load, bytes, wrong   as of "server"
//   each      connections of each CPU
//   ms        virtual time that is simulated, at least: each connection is answered once in it
//   isReal    also measured on threads of this machine; default false
import { readLoad, tellLoad } from '../../device/load/reading.ts'
import { type Cpu, total } from '../../kernel.ts'
import { type CostedMachine, simulateCosts } from '../../machine/costed.ts'
import { takeCounts } from '../../metrics/take.ts'
import type { Discipline } from '../../net/discipline.ts'
import type { CellParameters } from '../experiment.ts'
import type { Calibration } from '../model/calibration.ts'
import { openCalibration } from '../model/open.ts'
import { costTable } from '../model/table.ts'
import type { Impossible, Measured, Workload } from '../workload.ts'
import server from './server.ts'
import { measured, type Reading } from './server-figures.ts'
import program, { SERVICES, ServerCounters } from './server-program.ts'
import { type Setup, serverMemory, setUp } from './server-setup.ts'

/** Of each CPU's own: its rings and counts with all others, and zones of each size. Pages are committed when they are touched. */
const CPU_BYTES = 8 * 1024 * 1024
/** Until services and connections are there. */
const READY_US = 30e6

export default {
  name: 'model',
  async run(parameters: CellParameters, seconds: number, seed: number, calibrationPath?: string) {
    const { ms, isReal = false, each, ...others } = parameters
    if (typeof ms !== 'number' || !(ms > 0)) throw new RangeError(`ms is ${ms}: give a time`)
    const { cpus } = parameters
    if (typeof each !== 'number' || typeof cpus !== 'number') throw new RangeError('each and cpus are numbers')
    const cell = { ...others, connections: each * cpus }
    const calibration = await openCalibration(calibrationPath)
    const outcome = await simulateServer(cell, ms, seed, calibration)
    if ('impossible' in outcome) return outcome
    const recorded = calibrationPath === undefined ? 1 : 0
    const modelled = { ...outcome, metrics: { ...outcome.metrics, recorded } }
    if (isReal !== true) return modelled
    const real = await server.run(cell, seconds, seed)
    return 'impossible' in real ? modelled : withReal(modelled, real)
  },
} satisfies Workload

/** One run of the model, in which nothing depends on anything but these. */
export async function simulateServer(
  cell: CellParameters,
  ms: number,
  seed: number,
  calibration: Calibration,
): Promise<Measured | Impossible> {
  const setup = await setUp(cell)
  const { load, config } = setup
  const costs = costTable(calibration, String(cell.load), cell.discipline as Discipline, load.cpus.length)
  const { memoryBytes, regions } = serverMemory(load)
  const machine = simulateCosts({
    cpus: load.cpus.length,
    seed,
    program: (cpu: Cpu) => program(cpu, config),
    costs,
    regions,
    memoryBytes: memoryBytes + load.cpus.length * CPU_BYTES,
  })
  begin(machine, setup)
  // Where many CPUs wait for one lock it takes long until each connection has its answer.
  pass(machine, setup, ms / 2)
  const before = read(machine, setup)
  pass(machine, setup, ms)
  const after = read(machine, setup)
  const outcome = measured(load, before, after)
  if ('impossible' in outcome) return outcome
  const cpuUs = (after.ms - before.ms) * 1000 * load.cpus.length
  return {
    ...outcome,
    metrics: {
      ...outcome.metrics,
      waiting: (after.waitedUs - before.waitedUs) / cpuUs,
      moving: (after.movedUs - before.movedUs) / cpuUs,
    },
  }
}

/** For so long, and until each connection has been answered once, on average. */
function pass(machine: CostedMachine, { load }: Setup, ms: number): void {
  const answers = () => {
    const { exchanges, closes } = readLoad(machine.memory, load).counts
    return load.workload === 'short' ? closes : exchanges
  }
  const until = answers() + load.connections
  machine.run({ untilUs: machine.now + ms * 1000 })
  reach(machine, 'its connections are not answered', () => answers() >= until)
}

function begin(machine: CostedMachine, { load }: Setup): void {
  const { memory } = machine
  const isListening = () => total(memory, ServerCounters, 'listening') === load.cpus.length * SERVICES
  const isReady = () => readLoad(memory, load).ready
  reach(machine, 'its services are not open', isListening)
  tellLoad(memory, load, 'run')
  reach(machine, 'its connections are not open', isReady)
}

/** In steps, which grow: looking costs more than a turn. */
function reach(machine: CostedMachine, fault: string, holds: () => boolean): void {
  const end = machine.now + READY_US
  for (let step = STEP_US; !holds(); step = Math.min(2 * step, STEP_MAX_US)) {
    if (machine.now > end) throw new Error(`after ${READY_US / 1e6} s of virtual time ${fault}`)
    machine.run({ untilUs: machine.now + step })
  }
}
const STEP_US = 250
const STEP_MAX_US = 8000

function read(
  machine: CostedMachine,
  { load }: Setup,
): Reading & { readonly waitedUs: number; readonly movedUs: number } {
  const { memory } = machine
  const broken = total(memory, ServerCounters, 'errors')
  const counts = takeCounts(machine)
  return { ms: machine.now / 1000, load: readLoad(memory, load), broken, counts, ...machine.lockTimes }
}

function withReal(model: Measured, real: Measured): Measured {
  const measuredRate = real.metrics.rate!
  return {
    ...model,
    metrics: { ...model.metrics, real: measuredRate, error: model.metrics.rate! / measuredRate - 1 },
  }
}
