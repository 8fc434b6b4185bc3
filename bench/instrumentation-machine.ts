// A host under load, to be measured again and again: what bench/instrumentation.ts boots of the stack that counts and of the one that
// does not, each time from this file of the one or the other tree. The host is that of the laboratory's workload "server".
import type { LoadOptions, LoadWorkload } from '../src/device/load/options.ts'
import { loadErrors, readLoad, tellLoad } from '../src/device/load/reading.ts'
import { loadRegions } from '../src/device/load/region.ts'
import type { Memory } from '../src/kernel/memory.ts'
import { boot, type Machine, total } from '../src/kernel.ts'
import { Port, SERVICES, ServerCounters } from '../src/lab/workloads/server-program.ts'
import type { Discipline } from '../src/net/discipline.ts'

const SERVER = '10.0.0.1'
const MEMORY_BYTES = 256 * 1024 * 1024
const READY_MS = 30_000
/** What is counted of each load. */
const UNIT = {
  exchange: 'exchanges',
  udp: 'exchanges',
  'bulk-in': 'bytes',
  'bulk-out': 'bytes',
  short: 'closes',
} as const satisfies { readonly [W in LoadWorkload]: string }

export interface LoadedOptions {
  readonly cpus: number
  readonly discipline: Discipline
  readonly groups?: number
  readonly workload: LoadWorkload
  readonly connections: number
}

/** A host whose load rests but while it is measured. */
export class LoadedMachine {
  readonly #machine: Machine
  readonly #load: LoadOptions

  private constructor(machine: Machine, load: LoadOptions) {
    this.#machine = machine
    this.#load = load
  }

  static async boot({ cpus, discipline, groups, workload, connections }: LoadedOptions): Promise<LoadedMachine> {
    const all = Array.from({ length: cpus }, (_, cpu) => cpu)
    const port = workload === 'bulk-in' ? Port.sink : workload === 'bulk-out' ? Port.source : Port.echo
    const load: LoadOptions = { name: 'load0', cpus: all, workload, connections, server: SERVER, port, begins: false }
    const data = {
      name: 'server',
      index: 0,
      cpus: all,
      interfaces: [{ name: 'load0', device: { kind: 'load', ...load }, addresses: [`${SERVER}/24`] }],
      routes: [{ prefix: '0.0.0.0/0', interface: 'load0' }],
      discipline,
      ...(groups === undefined ? {} : { groups }),
    }
    const machine = await boot({
      cpus,
      program: new URL('../src/lab/workloads/server-program.js', import.meta.url),
      data,
      memoryBytes: MEMORY_BYTES + connections * 32 * 1024,
      regions: loadRegions(load),
    })
    const loaded = new LoadedMachine(machine, load)
    await loaded.#until(() => total(machine.memory, ServerCounters, 'listening') === cpus * SERVICES)
    tellLoad(machine.memory, load, 'run')
    await loaded.#until(() => readLoad(machine.memory, load).ready)
    return loaded
  }

  /**
   * What the load does in `ms` of processor time, in its own unit (UNIT), by the seconds of processor that it took: however
   * seldom this process has a processor, each measurement is as long.
   */
  async measure(ms: number): Promise<number> {
    const { memory } = this.#machine
    tellLoad(memory, this.#load, 'run')
    // Until it hears of that, and the caches are its own.
    await this.#pause(20)
    const before = this.#done()
    const began = process.cpuUsage()
    const spent = () => {
      const { user, system } = process.cpuUsage(began)
      return (user + system) / 1e6
    }
    while (spent() < ms / 1000) await this.#pause(10)
    const rate = (this.#done() - before) / spent()
    tellLoad(memory, this.#load, 'rest')
    await this.#pause(20)
    const errors = loadErrors(readLoad(memory, this.#load))
    if (Object.keys(errors).length > 0) throw new Error(`the load met errors: ${JSON.stringify(errors)}`)
    return rate
  }

  /** For whoever wants to see what was counted. */
  get memory(): Memory {
    return this.#machine.memory
  }

  stop(): Promise<void> {
    return this.#machine.stop()
  }

  #done(): number {
    return readLoad(this.#machine.memory, this.#load).counts[UNIT[this.#load.workload]]
  }

  async #until(holds: () => boolean): Promise<void> {
    const end = performance.now() + READY_MS
    while (!holds()) {
      if (performance.now() > end) throw new Error('the machine does not become ready')
      await this.#pause(5)
    }
  }

  async #pause(ms: number): Promise<void> {
    await Promise.race([this.#machine.done, new Promise((resolve) => setTimeout(resolve, ms))])
  }
}
