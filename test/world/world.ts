// A world: a network of hosts in virtual time, made of a plan (plan.ts), in which things go wrong until it heals. All the while what arrives is
// checked (end.ts, flow.ts); when it has healed every connection has to come to its end in bounded time; and when nothing is left to do
// everything that was counted has to add up, and all memory to be back (check.ts).
//
//     safety: faults and programs │ healing: no faults, every connection ends │ rest: listeners close, TIME-WAIT passes │ the end
import { Errno, errnoName, KernelError } from '../../src/base/errno.ts'
import { type SimMachine, simulate } from '../../src/machine/sim.ts'
import type { SimFaults } from '../../src/machine/simfault.ts'
import { echo } from '../../src/service/echo.ts'
import { Stack, type TcpListener, type TcpSocket, type UdpSocket } from '../../src/stack.ts'
import { Agenda } from './agenda.ts'
import { assertEmpty, assertFree, connectionsOf, excuseOf } from './check.ts'
import { Content } from './content.ts'
import { End } from './end.ts'
import { WorldFailure } from './failure.ts'
import { Flow } from './flow.ts'
import { Network } from './network.ts'
import type { ChangePlan, ListenerPlan, StreamPlan, WorldPlan } from './plan.ts'

/** What went on in a world that held. */
export interface WorldReport {
  /** Of all that happened: the same for the same plan. */
  readonly hash: string
  readonly virtualUs: number
  readonly turns: number
  readonly whole: number
  readonly failed: number
  readonly bytes: number
  readonly echoed: number
  readonly changes: number
}

/** Mistakes that a test makes on purpose, to see them found. */
export interface Sabotage {
  /** Bytes have come, and have not been looked at. */
  readonly received?: (end: End, bytes: Uint8Array) => void
  readonly datagram?: (flow: Flow, bytes: Uint8Array) => void
  /** An end that is not woken when there is something to read. */
  readonly isDeaf?: (end: End) => boolean
  /** Once a world runs. */
  readonly begun?: (stacks: readonly Stack[]) => void
}

const START_US = 5000
const ECHO_PORT = 7
/** A program whose peer is gone without a word learns of it by this. */
const KEEP_ALIVE_MS = 20_000
/** How often a world that heals is looked at. */
const SLICE_US = 1_000_000
/** The longest that a connection may take to end when nothing goes wrong any more: 15 retransmissions (RFC 9293 3.8.3), twice, with room to spare. */
const HEAL_US = 7_200_000_000
/** Fragments, two TIME-WAITs, neighbours that do not answer. */
const REST_US = 400_000_000
const RETRY_US = 10_000
const BREATHE_MS = 50
/** Of the smallest machine a slice may have as many turns. */
const STEPS_MAX = 30_000_000
const KINDS = ['pause', 'pauseUs', 'timerUs', 'clockUs', 'shortage'] as const

export class World {
  readonly plan: WorldPlan
  readonly machine: SimMachine
  readonly content: Content
  readonly sabotage: Sabotage
  /** Whether datagrams may come more than once. */
  readonly doubles: boolean
  /** Ends that are not over; those that have not begun are among them. */
  open = 0
  isHealed = false
  readonly #network: Network
  readonly #faults: SimFaults = {}
  readonly #agendas: Agenda[] = []
  readonly #stacks: Stack[] = []
  /** Of each host, the index of its first CPU. */
  readonly #first = new Map<string, number>()
  readonly #ends: End[] = []
  readonly #clients = new Map<number, End>()
  readonly #served = new Set<number>()
  readonly #flows: Flow[] = []
  readonly #listeners: { readonly cpu: number; readonly listener: TcpListener }[] = []
  readonly #echoes: { readonly cpu: number; readonly socket: UdpSocket }[] = []
  /** Hosts whose programs have ended. */
  readonly #dead = new Set<string>()
  readonly #isInterrupted: () => boolean
  #breathedAt = performance.now()
  #changes = 0
  #hash = 0x811c9dc5

  /** @param isInterrupted asked now and then: true ends the world as a failure of the kind `interrupted` */
  constructor(plan: WorldPlan, sabotage: Sabotage = {}, isInterrupted: () => boolean = () => false) {
    this.plan = plan
    this.sabotage = sabotage
    this.#isInterrupted = isInterrupted
    this.content = new Content(plan.seed)
    this.doubles = plan.linkFaults.some(({ fault }) => fault.duplicate !== undefined || fault.replay !== undefined)
    this.#network = new Network(plan)
    const { seed, memoryBytes, ringEntries } = plan
    const { cpus, regions, configs } = this.#network
    this.machine = simulate({
      cpus,
      seed,
      memoryBytes,
      ringEntries,
      regions,
      checkOrder: true,
      faults: this.#faults,
    })
    for (const config of configs) {
      this.#first.set(config.name, config.cpus[0]!)
      for (const index of config.cpus) {
        const cpu = this.machine.cpus[index]!
        const stack = new Stack(cpu, config)
        this.#agendas.push(new Agenda(cpu))
        this.#stacks.push(stack)
        cpu.threads.start('host', function* (thread) {
          yield* stack.start(thread)
        })
      }
    }
  }

  /**
   * Runs it to its end.
   * @throws WorldFailure
   */
  async run(): Promise<WorldReport> {
    try {
      await this.live()
      this.isHealed = true
      await this.#heal()
      await this.#rest()
      this.#judge()
      const { steps, traceHash } = this.machine
      const virtualUs = this.machine.clock.now()
      for (const flow of this.#flows) flow.free()
      await this.machine.stop()
      assertFree(this.machine)
      const bytes = this.#ends.reduce((sum, { received }) => sum + received, 0)
      const failed = this.#ends.filter(({ errno, aborted }) => errno !== 0 || aborted).length
      return {
        hash: hex(traceHash) + hex(this.#hash),
        virtualUs,
        turns: steps,
        whole: this.#ends.length - failed,
        failed,
        bytes,
        echoed: this.#flows.reduce((sum, { echoed }) => sum + echoed, 0),
        changes: this.#changes,
      }
    } catch (error) {
      this.machine.stop().catch(() => {})
      throw WorldFailure.of(error)
    }
  }

  /** Runs it until it heals: what `run` begins with, for those who measure how long that takes. */
  async live(): Promise<void> {
    this.#begin()
    await this.#runPlan()
  }

  /** Something has happened to an end: a part of what the same plan gives again. */
  note(end: End, what: number, value = 0): void {
    const id = end.stream?.id ?? 0
    for (const part of [id, end.way === 'client' ? 0 : 1, what, value, this.machine.clock.now()]) {
      this.#hash = Math.imul(this.#hash ^ part, 0x01000193)
    }
  }

  fail(kind: string, sentence: string): never {
    throw new WorldFailure(kind, `at ${Math.round(this.machine.clock.now())} µs: ${sentence}`)
  }

  /** A server has learned which stream it has. */
  identify(end: End, id: number): void {
    const client = this.#clients.get(id)
    const stream = client?.stream
    if (client === undefined || stream === undefined || stream.server !== end.host) {
      this.fail('foreign connection', `${end.host} was given stream ${id}, which it has not`)
    }
    if (this.#served.has(id)) this.fail('doubled connection', `${end.host} was given stream ${id} a second time`)
    this.#served.add(id)
    end.stream = stream
    end.peer = client
    client.peer = end
  }

  #begin(): void {
    const { plan } = this
    for (const listener of plan.listeners) {
      const cpus = listener.perCpu ? this.#cpusOf(listener.host) : [this.#cpuOf(listener.host, listener.cpu)]
      for (const cpu of cpus) this.#agendas[cpu]!.at(START_US, () => this.#listen(cpu, listener))
    }
    for (const host of new Set(plan.datagrams.map(({ server }) => server))) {
      for (const cpu of this.#cpusOf(host)) this.#agendas[cpu]!.at(START_US, () => this.#echo(cpu))
    }
    for (const stream of plan.streams) {
      const cpu = this.#cpuOf(stream.client, stream.cpu)
      const end = new End(this, 'client', stream.client, this.#agendas[cpu]!, stream)
      this.open++
      this.#ends.push(end)
      this.#clients.set(stream.id, end)
      this.#agendas[cpu]!.at(stream.atUs, () => this.#connect(cpu, end, stream))
    }
    for (const datagrams of plan.datagrams) {
      const cpu = this.#cpuOf(datagrams.client, datagrams.cpu)
      const flow = new Flow(this, this.#agendas[cpu]!, this.#stacks[cpu]!, datagrams)
      this.#flows.push(flow)
      this.#agendas[cpu]!.at(datagrams.atUs, () => {
        if (this.#dead.has(datagrams.client)) return
        this.#allowing(() => flow.open(this.#network.addressOf(datagrams.link, datagrams.server), ECHO_PORT))
      })
    }
    for (const change of plan.changes) {
      const cpu = this.#cpuOf(change.host, change.cpu)
      this.#agendas[cpu]!.at(change.atUs, () => this.#change(cpu, change))
    }
    for (const { host, atUs, kind } of plan.deaths) {
      if (kind === 'programs')
        for (const cpu of this.#cpusOf(host)) this.#agendas[cpu]!.at(atUs, () => this.#die(host, cpu))
    }
    this.sabotage.begun?.(this.#stacks)
  }

  /** Faults come and go as the plan has it. */
  async #runPlan(): Promise<void> {
    const { machineFaults, healUs } = this.plan
    const times = machineFaults.flatMap(({ fromUs, untilUs }) => [fromUs, untilUs])
    for (const atUs of [...this.#network.changes, ...times, healUs].sort((a, b) => a - b)) {
      if (atUs > healUs) break
      this.machine.run({ untilUs: atUs, maxSteps: STEPS_MAX })
      await this.#breathe()
      this.#network.setFaults(atUs)
      for (const kind of KINDS) delete this.#faults[kind]
      for (const { fromUs, untilUs, fault } of machineFaults) {
        if (fromUs <= atUs && atUs < untilUs) Object.assign(this.#faults, fault)
      }
    }
    this.#network.setFaults(Number.POSITIVE_INFINITY)
    for (const kind of KINDS) delete this.#faults[kind]
  }

  async #heal(): Promise<void> {
    const limit = this.machine.clock.now() + HEAL_US
    while (this.open > 0) {
      if (this.machine.clock.now() >= limit) {
        const left = this.#ends.filter(({ over }) => !over)
        this.fail(
          'not over',
          `${left.length} ends are not over ${HEAL_US / 1e6} s after all is well:\n${left.join('\n')}`,
        )
      }
      this.#run(SLICE_US, () => this.open === 0)
      await this.#breathe()
    }
  }

  /** Nobody wants anything any more, and what lingers passes. */
  async #rest(): Promise<void> {
    for (const { cpu, listener } of this.#listeners) this.#soon(cpu, () => this.#closeListener(cpu, listener))
    for (const { cpu, socket } of this.#echoes) this.#soon(cpu, () => this.#closeEcho(cpu, socket))
    for (const flow of this.#flows) this.#soon(this.#cpuOf(flow.plan.client, flow.plan.cpu), () => flow.close())
    const limit = this.machine.clock.now() + HEAL_US
    while (this.#stacks.some((stack) => connectionsOf(stack) > 0)) {
      if (this.machine.clock.now() >= limit) {
        this.fail('connections left', `there are connections ${HEAL_US / 1e6} s after their programs have closed them`)
      }
      this.#run(SLICE_US)
      await this.#breathe()
    }
    this.#run(REST_US)
    // Passive IPIs wait for the next turn: everybody takes one more, and those who were answered another.
    for (let turns = 0; turns < 2; turns++) {
      for (const cpu of this.machine.cpus) this.machine.wake(cpu.index)
      this.#run(1000)
    }
  }

  #judge(): void {
    for (const end of this.#ends) {
      const { errno, stream, ended, received, peer } = end
      if (errno !== 0 && excuseOf(this.plan, this.machine, end) === undefined) {
        this.fail(`fails with ${errnoName(errno)}`, `${end}: nothing in this world is a reason for that`)
      }
      const isCut = errno !== 0 || end.aborted || peer === undefined || peer.aborted || peer.errno !== 0
      if (isCut || stream === undefined) continue
      if (!ended || received !== peer.sent)
        this.fail('not whole', `${end}: is over, and ${peer} too, and it is not whole`)
    }
    assertEmpty(this.machine, this.#stacks)
  }

  #listen(cpu: number, listener: ListenerPlan): void {
    const { port, perCpu, backlog, options, host } = listener
    if (this.#dead.has(host) || this.isHealed) return
    const again = () => this.#agendas[cpu]!.after(RETRY_US, () => this.#listen(cpu, listener))
    const isRefused = this.#allowing(() => {
      this.#stacks[cpu]!.tcp.listen(
        { ...options, port, perCpu, backlog, keepAliveMs: KEEP_ALIVE_MS },
        (error, made) => {
          if (error !== undefined) return isShortage(error) ? again() : this.#throw(error)
          made.onConnection = (socket) => this.#accept(cpu, host, socket)
          this.#listeners.push({ cpu, listener: made })
          if (this.#dead.has(host)) this.#closeListener(cpu, made)
        },
      )
    })
    if (isRefused) again()
  }

  #echo(cpu: number): void {
    const stack = this.#stacks[cpu]!
    const { udp } = stack
    const open = udp.open.bind(udp)
    // The service keeps its socket to itself.
    udp.open = (options, ready) => {
      const socket = open(options, ready)
      this.#echoes.push({ cpu, socket })
      return socket
    }
    echo(stack, ECHO_PORT, (error) => {
      if (error !== undefined) this.#throw(error)
    })
    udp.open = open
  }

  #accept(cpu: number, host: string, socket: TcpSocket): void {
    const end = new End(this, 'server', host, this.#agendas[cpu]!, undefined)
    this.open++
    this.#ends.push(end)
    end.take(socket)
    end.open()
    if (this.#dead.has(host)) end.abort()
  }

  #connect(cpu: number, end: End, stream: StreamPlan): void {
    if (this.#dead.has(stream.client)) return end.refused(Errno.ECANCELED)
    const address = this.#network.addressOf(stream.link, stream.server)
    const { port, localPort, options } = stream
    try {
      end.take(this.#stacks[cpu]!.tcp.connect({ ...options, address, port, localPort, keepAliveMs: KEEP_ALIVE_MS }))
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      end.refused(error.errno)
    }
  }

  #change(cpu: number, { discipline, groups }: ChangePlan): void {
    this.#allowing(() => {
      this.#stacks[cpu]!.setDiscipline(discipline, groups, (error) => {
        if (error === undefined) this.#changes++
        // Of two at a time one is refused.
        else if (error.code !== 'EBUSY' && !isShortage(error)) this.#throw(error)
      })
    })
  }

  /** The part of a host's program that is on one CPU ends. */
  #die(host: string, cpu: number): void {
    this.#dead.add(host)
    for (const end of this.#ends) if (end.host === host && end.cpu === cpu) end.abort()
    for (const each of this.#listeners) if (each.cpu === cpu) this.#closeListener(cpu, each.listener)
    for (const flow of this.#flows) if (this.#cpuOf(flow.plan.client, flow.plan.cpu) === cpu) flow.close()
  }

  #closeListener(cpu: number, listener: TcpListener): void {
    if (!listener.close()) this.#agendas[cpu]!.after(RETRY_US, () => this.#closeListener(cpu, listener))
  }

  #closeEcho(cpu: number, socket: UdpSocket): void {
    if (!socket.close()) this.#agendas[cpu]!.after(RETRY_US, () => this.#closeEcho(cpu, socket))
  }

  /** Runs what may be refused for want of memory. Whether it was. */
  #allowing(run: () => void): boolean {
    try {
      run()
      return false
    } catch (error) {
      if (error instanceof KernelError && isShortage(error)) return true
      throw error
    }
  }

  #throw(error: Error): never {
    throw new WorldFailure(`is refused: ${(error as { code?: string }).code ?? error.name}`, error.message, error)
  }

  #run(us: number, until?: () => boolean): void {
    const untilUs = this.machine.clock.now() + us
    this.machine.run({ untilUs, maxSteps: STEPS_MAX, ...(until === undefined ? {} : { until }) })
  }

  /** Lets the event loop of whoever runs the world have its turn, in which it may be told to stop. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breathedAt < BREATHE_MS) return
    await new Promise((resolve) => setImmediate(resolve))
    this.#breathedAt = performance.now()
    if (this.#isInterrupted()) this.fail('interrupted', 'the world was told to stop')
  }

  #soon(cpu: number, run: () => void): void {
    this.#agendas[cpu]!.at(0, run)
    this.machine.wake(cpu)
  }

  #cpuOf(host: string, cpu: number): number {
    return this.#first.get(host)! + cpu
  }

  #cpusOf(host: string): readonly number[] {
    return this.#network.configs.find(({ name }) => name === host)!.cpus
  }
}

function isShortage(error: Error): boolean {
  return ['ENOBUFS', 'ENOMEM'].includes((error as { code?: string }).code ?? '')
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}
