// A hard part of a stack, which all connections share, by itself on real threads: as the stack has it, where each CPU has its
// own and messages go between them, or one for all CPUs under locks (lab/rival). What is measured is the difference of two
// readings, so that warming up is in none of the figures.
//   part        "routes", "hostcache" or "reassembly"
//   form        "messages"; "lock": one lock for all; "locks": as many as the part has places (not of routes, whose lock readers share)
//   cpus        all of them look up, change and receive
//   routes      of routes: how many there are
//   changes     of routes and the host cache: changes by lookups, 0 to 1
//   away        of reassembly: the share of datagrams that come to another CPU than the owner of their addresses, 0 to 1
//   host        "threads", the default, or "inline": all CPUs on one event loop, which is for tests
import { availableParallelism } from 'node:os'
import { boot, type Cpu, type Machine, total } from '../../kernel.ts'
import { takeCounts } from '../../metrics/take.ts'
import type { CellParameters } from '../experiment.ts'
import type { Workload } from '../workload.ts'
import { measured, type Reading } from './hard-part-figures.ts'
import { PROBE_BYTES, samples } from './hard-part-probe.ts'
import program from './hard-part-program.ts'
import { FORMS, type Form, HardPartCounters, type HardPartData, PARTS, type Part } from './hard-part-setup.ts'

/** Of the measuring time, before it. */
const WARM_UP = 0.3
/** At least: until then most of it is not optimized. */
const WARM_UP_SECONDS = 0.3
/** On a machine that others keep busy it takes so many times as long at most. */
const PATIENCE = 8
const READY_SECONDS = 20
const MEMORY_BYTES = 128 * 1024 * 1024

export default {
  name: 'hard-part',
  async run(parameters, seconds, seed) {
    const { host, ...data } = check(parameters, seed)
    if (host === 'threads' && availableParallelism() < data.cpus) {
      return { impossible: `${data.cpus} CPUs that are busy at the same time need ${data.cpus} processors` }
    }
    const threads = host === 'inline' ? 1 : data.cpus
    const machine = await boot({
      cpus: data.cpus,
      host,
      seed,
      program:
        host === 'inline' ? (cpu: Cpu) => program(cpu, data) : new URL('./hard-part-program.js', import.meta.url),
      data,
      memoryBytes: MEMORY_BYTES,
      regions: { probe: PROBE_BYTES },
      // A sleep and its wake-up are measured elsewhere.
      spinTurns: Number.POSITIVE_INFINITY,
    })
    try {
      await untilReady(machine, data.cpus)
      await untilUsed(machine, threads, Math.max(seconds * WARM_UP, WARM_UP_SECONDS))
      const before = read(machine)
      await untilUsed(machine, threads, seconds)
      const after = read(machine)
      return measured(before, after, samples(machine.memory).slice(before.samples))
    } finally {
      await machine.stop()
    }
  },
} satisfies Workload

function read(machine: Machine): Reading {
  const { user, system } = process.cpuUsage()
  return {
    ms: performance.now(),
    cpuUs: user + system,
    counts: takeCounts(machine),
    samples: samples(machine.memory).length,
  }
}

/** So long at least, and until each thread has had a processor for so long: nothing is compiled or measured while others have them all. */
async function untilUsed(machine: Machine, threads: number, seconds: number): Promise<void> {
  const began = performance.now()
  const before = process.cpuUsage()
  const isUsed = () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6 >= seconds * threads
  }
  await pause(machine, seconds)
  while (!isUsed() && performance.now() - began < seconds * PATIENCE * 1000) await pause(machine, 0.02)
}

async function untilReady(machine: Machine, cpus: number): Promise<void> {
  const end = performance.now() + READY_SECONDS * 1000
  while (total(machine.memory, HardPartCounters, 'ready') < cpus) {
    if (performance.now() > end) throw new Error(`after ${READY_SECONDS} s its CPUs are not ready`)
    await pause(machine, 0.005)
  }
}

/** A machine that fails ends it. */
async function pause(machine: Machine, seconds: number): Promise<void> {
  await Promise.race([machine.done, new Promise((resolve) => setTimeout(resolve, seconds * 1000))])
}

/** @throws RangeError for parameters that cannot be */
function check(parameters: CellParameters, seed: number): HardPartData & { readonly host: 'threads' | 'inline' } {
  const { part, form, cpus, routes = 0, changes = 0, away = 0, host = 'threads' } = parameters
  if (!(PARTS as readonly unknown[]).includes(part)) throw new RangeError(`part is ${part}: give ${PARTS.join(', ')}`)
  if (!(FORMS as readonly unknown[]).includes(form)) throw new RangeError(`form is ${form}: give ${FORMS.join(', ')}`)
  if (part === 'routes' && form === 'locks') throw new RangeError('the routes have one lock, which readers share')
  if (host !== 'threads' && host !== 'inline') throw new RangeError(`host is ${host}: give "threads" or "inline"`)
  const least = { cpus: 1, routes: part === 'routes' ? 1 : 0, changes: 0, away: 0 }
  const most = { cpus: 64, routes: 100_000, changes: 1, away: 1 }
  for (const [name, value] of Object.entries({ cpus, routes, changes, away })) {
    const [low, high] = [least[name as keyof typeof least], most[name as keyof typeof most]]
    if (!(typeof value === 'number' && value >= low && value <= high)) {
      throw new RangeError(`${name} is ${value}: give a number from ${low} to ${high}`)
    }
  }
  if (Number(away) > 0 && cpus === 1) throw new RangeError('away is above 0 on one CPU: there is no other')
  const numbers = { cpus: Number(cpus), routes: Number(routes), changes: Number(changes), away: Number(away) }
  return { part: part as Part, form: form as Form, ...numbers, seed, host }
}
