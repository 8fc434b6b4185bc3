// What the layers of one host share on one CPU: the CPU, cursors, scratch, and the interfaces. Made by stack.ts.
import type { Routines } from '../base/routines.ts'
import type { Address } from '../base/struct.ts'
import { Mbuf, type MbufCursor, Mbufs } from '../device/mbuf.ts'
import type { CounterSet, Tally, TallyKind } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import type { Memory } from '../kernel/memory.ts'
import type { HostConfig } from './config.ts'
import type { Interface } from './interface.ts'
import { RouteTable } from './route/table.ts'

export class NetContext {
  readonly cpu: Cpu
  readonly memory: Memory
  readonly u8: Uint8Array
  readonly view: DataView
  readonly routines: Routines
  readonly mbufs: Mbufs
  readonly config: HostConfig
  /** Whether checksums are computed and verified in software. */
  readonly checksums: boolean
  readonly interfaces: Interface[] = []
  /** This CPU's replica (see control/round.ts for how it changes). */
  readonly routes = new RouteTable()
  /** 64 bytes that the code of one function may use between two calls. */
  readonly scratch: Address
  readonly #members: readonly number[]

  constructor(cpu: Cpu, config: HostConfig) {
    this.cpu = cpu
    this.memory = cpu.memory
    this.u8 = cpu.memory.u8
    this.view = cpu.memory.view
    this.routines = cpu.memory.routines
    this.mbufs = Mbufs.of(cpu)
    this.config = config
    this.#members = [...config.cpus, ...(config.programs ?? [])]
    this.checksums = config.checksums ?? true
    this.scratch = cpu.slab.allocate(128) + 64
    cpu.onStop(() => cpu.slab.free(this.scratch - 64))
  }

  /** A cursor of the caller's own over packets. */
  mbuf(): MbufCursor {
    return Mbuf.cursor(this.memory)
  }

  /** This host's counts of a set on this CPU. */
  count<N extends string>(set: CounterSet<N>): Float64Array {
    return this.cpu.counterPage.open(set, this.config.index)
  }

  /** A tally of this host's counts on this CPU. */
  tally<N extends string>(kind: TallyKind<N>): Tally<N> {
    return this.cpu.counterPage.tally(kind, this.config.index)
  }

  /** The CPU that owns what has this flow hash. */
  owner(hash: number): number {
    const { cpus } = this.config
    return cpus.length === 1 ? cpus[0]! : cpus[hash % cpus.length]!
  }

  /** All CPUs that have a part of the host: those that own flows, and those that only have programs. */
  get members(): readonly number[] {
    return this.#members
  }

  /** The CPU that has the last word where the whole host must agree. */
  get controlCpu(): number {
    return this.config.cpus[0]!
  }

  get isControl(): boolean {
    return this.cpu.index === this.controlCpu
  }

  /** The name of a port that this host has on each of its CPUs. */
  portName(kind: string, cpu: number): string {
    return `${this.config.name}/${kind}/${cpu}`
  }
}
