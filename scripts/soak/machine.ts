// The machine of a part: one CPU on this thread's event loop, or so many on workers, and this thread's besides, which then has programs only.
// Every CPU that owns connections is a member (member.ts).
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { CpuState } from '../../src/kernel/cpustate.ts'
import { CpuBlock } from '../../src/kernel/layout.ts'
import { InlineMachine } from '../../src/machine/inline.ts'
import { imbalances } from '../../src/metrics/balance.ts'
import { sum } from '../../src/metrics/counts.ts'
import { takeCounts } from '../../src/metrics/take.ts'
import type { HostConfig } from '../../src/net/config.ts'
import type { Discipline } from '../../src/net/discipline.ts'
import type { Host } from '../../src/node/host.ts'
import type { Stack } from '../../src/stack.ts'
import { bootInline, bootThreads, hostOn, type OwnMachine, standStack } from '../../test/own-host.ts'
import { type CpuReading, liveObjects, type Reading, readCpu, readProcess } from './measure.ts'
import { answerAsMember, type Endings, type Question, type Talks } from './member.ts'

/** What is still sent when all programs are done, late acknowledgments and FINs that were lost, is over then. */
const QUIET_MS = 60_000
const LOOK_MS = 5

export interface SoakMachineOptions {
  readonly cpus: number
  readonly hosts: readonly HostConfig[]
  readonly regions?: { readonly [name: string]: number }
}

export class SoakMachine {
  /** CPUs that own connections. */
  readonly members: readonly number[]
  readonly hosts: readonly Host[]
  readonly #machine: OwnMachine
  /** This thread's, with its parts of the hosts. */
  readonly #cpu: Cpu
  readonly #stacks: readonly Stack[]
  readonly #beganMs = performance.now()
  /** What each CPU had of ports and threads when it was quiet for the first time: as many as ever after. */
  #first: readonly string[] | undefined

  private constructor(machine: OwnMachine, members: readonly number[], stacks: readonly Stack[]) {
    this.#machine = machine
    this.#cpu = machine.cpu!
    this.#stacks = stacks
    this.members = members
    this.hosts = stacks.map(hostOn)
  }

  /** Resolves when all hosts stand. */
  static async boot({ cpus, hosts, regions = {} }: SoakMachineOptions): Promise<SoakMachine> {
    const members = Array.from({ length: cpus }, (_, i) => i)
    const program = new URL('./member-program.js', import.meta.url)
    const machine =
      cpus === 1
        ? await bootInline()
        : await bootThreads({ workers: cpus, program, data: hosts, regions, checkOrder: true })
    const stacks = await Promise.all(hosts.map((config) => standStack(machine, config)))
    if (machine instanceof InlineMachine) answerAsMember(machine.cpu, stacks)
    return new SoakMachine(machine, members, stacks)
  }

  /** The CPUs that a host's configuration has. */
  static cpusOf(cpus: number): Pick<HostConfig, 'cpus' | 'programs'> {
    return { cpus: Array.from({ length: cpus }, (_, i) => i), programs: cpus === 1 ? [] : [cpus] }
  }

  /** Seconds since it was booted. */
  get at(): number {
    return (performance.now() - this.#beganMs) / 1000
  }

  /** Asks a member. Rejects with what it throws or answers as an error, and where the machine stops with why it has. */
  async ask(cpu: number, question: Question): Promise<unknown> {
    try {
      return await this.#machine.ask(cpu, question)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ECANCELED') await this.#machine.done
      throw error
    }
  }

  /** @throws where bytes were not those that were sent, or a socket had an error that it must not have */
  async talk(cpu: number, talks: Talks): Promise<Endings> {
    const endings = (await this.ask(cpu, { kind: 'talk', ...talks })) as Endings
    if (endings.wrong > 0) throw new Error(`cpu ${cpu}: ${endings.wrong} of ${talks.count} conversations went wrong`)
    return endings
  }

  /** Changes a host's discipline, by its part on some CPU. */
  async setDiscipline(cpu: number, host: number, discipline: Discipline): Promise<void> {
    await this.ask(cpu, { kind: 'discipline', host, discipline })
  }

  /** `call` is called with why the machine has stopped, where a CPU has thrown. */
  onFailure(call: (error: unknown) => void): void {
    this.#machine.done.catch(call)
  }

  async read(): Promise<Reading> {
    const cpus = await this.#all((cpu) => this.ask(cpu, { kind: 'read' }) as Promise<CpuReading>)
    if (this.#isApart) cpus.push(readCpu(this.#cpu, this.#stacks))
    return { at: this.at, ...readProcess(this.#machine.memory, cpus), cpus }
  }

  /** Objects of each CPU's slabs that are in use. */
  async live(): Promise<readonly number[]> {
    const members = await this.#all((cpu) => this.ask(cpu, { kind: 'live' }) as Promise<number>)
    return this.#isApart ? [...members, liveObjects(this.#cpu)] : members
  }

  /** What connections have told programs on other CPUs: data and notices. */
  get crossed(): number {
    return this.#machine
      .handoffs()
      .filter(({ point, source, target }) => point === 'rcv' && source !== target)
      .reduce((all, { enqueued }) => all + enqueued, 0)
  }

  /**
   * Waits until no socket is left, all CPUs sleep and every count adds up: no program has anything open but listeners.
   * @param drained as for `imbalances`
   * @throws where it does not come to that: with what does not add up
   */
  async quiet(drained = false): Promise<void> {
    const untilMs = performance.now() + QUIET_MS
    const isLate = () => performance.now() > untilMs
    for (;;) {
      const left = await this.#sockets()
      if (left.every((count) => count === 0)) break
      if (isLate()) throw new Error(`at rest there are sockets, on each CPU: ${left.join(', ')}`)
      await delay(LOOK_MS * 10)
    }
    let last = takeCounts(this.#machine)
    for (;;) {
      await delay(LOOK_MS)
      const before = last
      last = takeCounts(this.#machine)
      const wrong = this.#areAsleep() && isDeepStrictEqual(last, before) ? imbalances(last, drained) : undefined
      if (wrong?.length === 0) break
      if (isLate()) throw new Error(`it does not come to rest: ${JSON.stringify(wrong ?? imbalances(last, drained))}`)
    }
    if (sum(last, 'cpu.orderViolations') > 0) throw new Error('messages have come in another order than they were sent')
    await this.#compare()
  }

  async stop(): Promise<void> {
    await this.#machine.stop()
  }

  /** This thread's CPU is none of the members. */
  get #isApart(): boolean {
    return !this.members.includes(this.#cpu.index)
  }

  async #sockets(): Promise<readonly number[]> {
    const members = await this.#all((cpu) => this.ask(cpu, { kind: 'sockets' }) as Promise<number>)
    return this.#isApart ? [...members, this.#stacks.reduce((all, { tcp }) => all + tcp.size, 0)] : members
  }

  async #compare(): Promise<void> {
    const { cpus } = await this.read()
    const now = cpus.map(({ ports, threads }, cpu) => `cpu ${cpu}: ${ports} ports, ${threads} threads`)
    this.#first ??= now
    if (isDeepStrictEqual(now, this.#first)) return
    throw new Error(
      `at rest it has other ports and threads than before: ${now.join('; ')}, and not ${this.#first.join('; ')}`,
    )
  }

  #areAsleep(): boolean {
    const { memory } = this.#machine
    const { layout } = memory
    for (let cpu = 0; cpu < layout.cpus; cpu++) {
      const state = Atomics.load(memory.i32, (layout.cpuBlock(cpu) + CpuBlock.offset.state) >> 2)
      if (state !== CpuState.sleeping) return false
    }
    return true
  }

  #all<Result>(ask: (cpu: number) => Promise<Result>): Promise<Result[]> {
    return Promise.all(this.members.map(ask))
  }
}
