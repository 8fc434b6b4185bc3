// What the stack's own work costs on one CPU, for the cost model: the workload "server" on one CPU of threads, under each discipline. There
// nobody else has a lock and no line is anywhere else, so that what is measured is work alone; what comes of there being other CPUs is
// the model's to say.
//
// A run gives the time of a packet, all in all: of the processor, as the operating system counts it, so that what else runs on the computer
// is not in it. Another one, which measures its locks, tells how much of it is spent inside of which: a clock is read twice for that,
// so one reading is taken off each hold, and none of the run's other figures are used. Where in a turn the rest is spent matters too: what
// is outside of locks is what lets others in.
import type { LoadOptions } from '../../device/load/options.ts'
import { tellLoad } from '../../device/load/reading.ts'
import { boot, type CounterSet, CpuCounters, type Machine, readLockSites, total } from '../../kernel.ts'
import { IpCounters, TcpCounters, TcpSocketCounters } from '../../net/counters.ts'
import type { Discipline } from '../../net/discipline.ts'
import type { CellParameters } from '../experiment.ts'
import { mapSummary, type Summary, summarize } from '../statistics.ts'
import { begin, pause } from '../workloads/server.ts'
import { SERVICES } from '../workloads/server-program.ts'
import { serverMemory, setUp } from '../workloads/server-setup.ts'
import type { Work } from './calibration.ts'
import { WorkCounters } from './work-program.ts'

/** Connections of each CPU, as the model is asked for them. */
export const CONNECTIONS = 64

const SLICES = 8
/** Connections, where turns are to be of few packets. */
const FEW = 2
/** Until V8 has compiled what is run, in the background, for which there may be no processor: so many packets, but not for ever. */
const WARM_PACKETS = 200_000
const WARM_SECONDS = 8
/** Sites where a hold is of many connections at once: what is done there is counted by connection. */
const TELL = 'tcp tell'
const OUTPUT = 'tcp output'
/** Locks that are taken within the hold of a segment that came in. */
const INNER = 'tcp table@'
const INPUT = 'tcp input'
const ARM = 'timer arm'
const CANCEL = 'timer cancel'
const DATA = 'tcp data of a program'
const REQUEST = 'tcp request'

interface Counts {
  /** Of the processor; one CPU that looks for work all the time uses one. */
  readonly ms: number
  readonly wallMs: number
  readonly turns: number
  readonly packets: number
  readonly delivered: number
  readonly sent: number
  /** Programs that were told of something, and the time of the wall that they and what they asked for took. */
  readonly told: number
  readonly programsMs: number
}

/** @param clock ns of a reading of the clock; @param lock of taking and leaving a lock */
export async function measureWork(
  load: string,
  discipline: Discipline,
  seconds: number,
  seed: number,
  clock: number,
  lock: number,
): Promise<Work> {
  const parameters = { cpus: 1, discipline, load, connections: CONNECTIONS }
  const plain = await onServer(parameters, seed, false, (machine) => slices(machine, seconds))
  const whole = summarize(plain.map(({ ms, packets }) => (ms * 1e6) / packets))
  const sum = (of: (counts: Counts) => number) => plain.reduce((n, each) => n + of(each), 0)
  const told = sum((each) => each.told) / sum((each) => each.packets)
  const programs = sum((each) => each.programsMs) / sum((each) => each.wallMs)
  const inside =
    discipline === 'connp-t'
      ? UNLOCKED
      : await onServer(parameters, seed, true, (machine) => insideOf(machine, seconds, clock, lock))
  // The run that measured its locks tells the shares; what they are shares of is the other one's to say.
  const share = (ns: number) => (ns / inside.whole) * whole.median
  const outside = 1 - inside.locked / inside.whole
  const ofPrograms = Math.min(outside, Math.max(0, programs - inside.programs / inside.whole))
  return {
    load,
    discipline,
    turns: sum((each) => each.turns) / sum((each) => each.packets),
    packet: mapSummary(whole, (ns) => ns * (outside - ofPrograms)),
    told: told === 0 ? 0 : (whole.median * ofPrograms) / told,
    holds: Object.fromEntries(Object.entries(inside.holds).map(([key, ns]) => [key, share(ns)])),
    delivered: share(inside.delivered),
    sent: share(inside.sent),
  }
}
const NO_HOLDS: Work['holds'] = {}
const UNLOCKED = { holds: NO_HOLDS, delivered: 0, sent: 0, locked: 0, programs: 0, whole: 1 }

/**
 * ns of a turn that finds nothing to do; and of one that has something to do, without what that is: `packet` is what a packet takes in
 * turns of many.
 */
export async function measureTurn(seconds: number, seed: number, packet: number) {
  const few = { cpus: 1, discipline: 'connp-t', load: 'exchange', connections: FEW }
  const idle = await onServer(few, seed, false, async (machine, load) => {
    tellLoad(machine.memory, load, 'rest')
    await pause(machine, 0.05)
    return summarize(
      (await slices(machine, seconds, ({ turns }) => turns > 0)).map(({ ms, turns }) => (ms * 1e6) / turns),
    )
  })
  const busy = await onServer(few, seed, false, async (machine) => {
    const parts = await slices(machine, seconds)
    // With few connections everything is in the nearest cache: what is left for the turn may be less than one that finds nothing.
    return summarize(
      parts.map(({ ms, turns, packets }) => Math.max(idle.median, (ms * 1e6 - packets * packet) / turns)),
    )
  })
  return { idle, busy }
}

/** How many times as long a packet takes where two CPUs that have nothing in common but the computer work at the same time. */
export async function measureTogether(seconds: number, seed: number): Promise<Summary> {
  const parameters = { cpus: 1, discipline: 'connp-t', load: 'exchange', connections: CONNECTIONS }
  return onServer(parameters, seed, false, (first) => {
    const alongside = async (second: Machine, load: LoadOptions) => {
      const ratios: number[] = []
      for (let i = 0; i < SLICES; i++) {
        tellLoad(second.memory, load, 'rest')
        await pause(second, 0.02)
        const alone = await packetMs([first, second], seconds / SLICES)
        tellLoad(second.memory, load, 'run')
        await pause(second, 0.02)
        ratios.push((await packetMs([first, second], seconds / SLICES)) / alone)
      }
      return summarize(ratios)
    }
    // While it rests it sleeps.
    return onServer(parameters, seed + 1, false, alongside, true)
  })
}

async function packetMs(machines: readonly Machine[], seconds: number): Promise<number> {
  const packets = () => machines.reduce((sum, machine) => sum + read(machine).packets, 0)
  const before = { ms: processorMs(), packets: packets() }
  await pause(machines[0]!, seconds)
  return (processorMs() - before.ms) / (packets() - before.packets)
}

async function onServer<T>(
  parameters: CellParameters,
  seed: number,
  profileLocks: boolean,
  run: (machine: Machine, load: LoadOptions) => Promise<T>,
  sleeps = false,
): Promise<T> {
  const { load, config } = await setUp(parameters)
  const machine = await boot({
    cpus: 1,
    seed,
    profileLocks,
    signals: false,
    program: new URL('./work-program.js', import.meta.url),
    data: config,
    ...(sleeps ? {} : { spinTurns: Number.POSITIVE_INFINITY }),
    ...serverMemory(load),
  })
  try {
    await begin({ machine, done: machine.done, services: SERVICES }, load)
    const end = performance.now() + WARM_SECONDS * 1000
    while (read(machine).packets < WARM_PACKETS && performance.now() < end) await pause(machine, 0.02)
    return await run(machine, load)
  } finally {
    await machine.stop()
  }
}

/** @param isUsable whether what it has counted can be divided by */
async function slices(
  machine: Machine,
  seconds: number,
  isUsable = ({ packets }: Counts) => packets > 0,
): Promise<Counts[]> {
  const all: Counts[] = []
  // One in which the processor was away all the time tells nothing.
  for (let i = 0; i < SLICES || all.length === 0; i++) {
    const each = await slice(machine, seconds / SLICES)
    if (isUsable(each)) all.push(each)
  }
  return all
}

async function slice(machine: Machine, seconds: number): Promise<Counts> {
  const before = read(machine)
  await pause(machine, seconds)
  const after = read(machine)
  return {
    ms: after.ms - before.ms,
    wallMs: after.wallMs - before.wallMs,
    packets: after.packets - before.packets,
    delivered: after.delivered - before.delivered,
    sent: after.sent - before.sent,
    told: after.told - before.told,
    programsMs: after.programsMs - before.programsMs,
    turns: after.turns - before.turns,
  }
}

function read({ memory }: Machine) {
  const count = <N extends string>(set: CounterSet<N>, counter: N) => total(memory, set, counter)
  return {
    ms: processorMs(),
    wallMs: performance.now(),
    packets: count(IpCounters, 'received'),
    delivered: count(TcpCounters, 'delivered'),
    sent: count(TcpCounters, 'sent'),
    told: count(TcpSocketCounters, 'notifications'),
    programsMs: count(WorkCounters, 'programs') / 1000,
    turns: count(CpuCounters, 'turns'),
  }
}

/** Used by all threads of this process, which has no other work. */
function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** ns, of a run that measures its locks: of each hold, of what is counted there, inside of locks for each packet, and all in all. */
async function insideOf(machine: Machine, seconds: number, clock: number, lock: number) {
  const before = readLockSites(machine.memory)
  const { packets, delivered, sent, ms, wallMs } = await slice(machine, seconds)
  // Holds are measured by the clock on the wall, in which the processor may have been away.
  const here = ms / wallMs
  const sites = readLockSites(machine.memory).map(({ name, site, count, totalUs }) => {
    const earlier = before.find((each) => each.name === name && each.site === site)
    const times = count - (earlier?.count ?? 0)
    // What is left of the two readings is one; less than the lock itself no hold takes.
    const ns = Math.max(lock * times, (totalUs - (earlier?.totalUs ?? 0)) * 1000 * here - clock * times)
    return { key: `${name}@${site}`, site, times, ns }
  })
  const inner = sites.find(({ key }) => key === INNER)
  // Timers are armed where something is sent, mostly, and cancelled where something comes in: those holds have the readings.
  const readingsOf = (name: string) => 2 * clock * (sites.find(({ site }) => site === name)?.times ?? 0)
  const holds: { [classAndSite: string]: number } = {}
  const counted = { [TELL]: 0, [OUTPUT]: 0 }
  let locked = 0
  let programs = 0
  for (const { key, site, times, ns } of sites) {
    if (times === 0) continue
    if (site === TELL || site === OUTPUT) {
      // A hold there is of as many connections as had something: the lock itself is of the hold, the rest of these.
      const own = Math.max(lock * times, ns - (site === OUTPUT ? readingsOf(ARM) : 0))
      counted[site] += own - lock * times
      locked += own
    } else if (site === INPUT) {
      // What an inner lock takes is its own, and the readings for it are in this hold as well.
      const within = (inner === undefined ? 0 : inner.ns + 2 * clock * inner.times) + readingsOf(CANCEL)
      const own = Math.max(lock * times, ns - within)
      holds[key] = own / times
      locked += own
    } else if (site === DATA || site === REQUEST || key === INNER) {
      // The others are rare, and within these: their work is counted there.
      holds[key] = ns / times
      locked += ns
      if (site === DATA || site === REQUEST) programs += ns
    }
  }
  const readings = sites.reduce((sum, { times }) => sum + 2 * times * clock, 0)
  return {
    holds,
    delivered: delivered === 0 ? 0 : counted[TELL] / delivered,
    sent: sent === 0 ? 0 : counted[OUTPUT] / sent,
    locked: locked / packets,
    programs: programs / packets,
    whole: Math.max(ms * 1e6 - readings, locked) / packets,
  }
}
