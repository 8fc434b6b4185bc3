// The machine that a script runs on: a simulated host with one wire, whose other end is the script's. Time stands still unless the script lets
// it pass: what the host does at once takes a few µs of virtual time.
//
// Calls of the host's sockets are made in turns of its CPU. A call that cannot be answered yet is made again in each of its turns, so that
// it ends in the very turn in which it can.
import type { Address } from '../../src/base/struct.ts'
import { Mbufs } from '../../src/device/mbuf.ts'
import { linkAddressOf, type WireOptions, WireQueue, wireRegions } from '../../src/device/wire.ts'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { type SimMachine, simulate } from '../../src/machine/sim.ts'
import { nudge } from '../../src/machine/testing/sim.ts'
import { type Pcb, TcpPcb } from '../../src/net/tcp/pcb.ts'
import { arp, type Bytes, ether, type Read, read, Type } from '../../src/net/testing/frame.ts'
import { assertAllFree } from '../../src/net/testing/host.ts'
import { Stack } from '../../src/stack.ts'
import type { Settings } from './setting.ts'

const MEMORY = 16 * 1024 * 1024
const WIRE = 'drill'
const ENTRIES = 1024
const ROUTER_LINK = '02:00:00:00:00:01'
/** A turn is short against every timer of the stack, and against the tolerance of scripts. */
const TURN_US = 0.01
/** By then everybody sleeps who has nothing left to do. */
const SETTLE_US = 4
const BOOT_US = 2000
const STEPS_MAX = 50_000_000
const SEED = 7

export interface SentFrame {
  readonly frame: Read
  readonly atUs: number
}

/** A call of the host, under way. `make` gives its result, or undefined while there is none. */
export interface Running<T> {
  readonly result: T | undefined
  /** When it ended, in the machine's time. */
  readonly endedAtUs: number
}

interface Job {
  readonly make: () => boolean
  made: boolean
}

export class Computer {
  readonly machine: SimMachine
  readonly stack: Stack
  readonly #settings: Settings
  readonly #outbox: Bytes[] = []
  readonly #inbox: SentFrame[] = []
  #jobs: Job[] = []

  constructor(settings: Settings) {
    this.#settings = settings
    const { localAddress, prefixLength, gateway, mtu, ecn } = settings
    const wire: WireOptions = { name: WIRE, a: [0], b: [1], mtu, entries: ENTRIES }
    const options = { cpus: 2, seed: SEED, memoryBytes: MEMORY, turnUs: TURN_US, stall: 0, checkOrder: true }
    this.machine = simulate({ ...options, regions: wireRegions(wire) })
    const [host, script] = this.machine.cpus as [Cpu, Cpu]
    this.stack = new Stack(host, {
      name: 'host',
      index: 0,
      cpus: [0],
      interfaces: [
        { name: WIRE, device: { kind: 'wire', wire, side: 'a' }, addresses: [`${localAddress}/${prefixLength}`] },
      ],
      routes: [{ prefix: '0.0.0.0/0', gateway, interface: WIRE }],
      ecn,
    })
    const { stack } = this
    host.threads.start('host starts', function* (this: void, thread) {
      yield* stack.start(thread)
    })
    this.#addJobs(host)
    this.#addWire(script, wire)
    this.#run({ untilUs: BOOT_US })
    // The router makes itself known, and nothing has to wait for its address.
    const hello = arp({ sender: gateway, senderLink: ROUTER_LINK, target: localAddress })
    this.#post(ether({ source: ROUTER_LINK, target: this.#hostLink, type: Type.arp }, hello))
    this.settle()
    this.#inbox.length = 0
  }

  get nowUs(): number {
    return this.machine.clock.now()
  }

  /** The next that the host has sent; it stays. */
  get next(): SentFrame | undefined {
    return this.#inbox[0]
  }

  takeNext(): SentFrame | undefined {
    return this.#inbox.shift()
  }

  /** Packets arrive at the host, and it does what it does at once. */
  inject(packets: readonly Bytes[]): void {
    for (const packet of packets) this.#post(ether({ source: ROUTER_LINK, target: this.#hostLink }, packet))
    this.#run({ until: () => this.#outbox.length === 0 })
    this.settle()
  }

  /** Makes a call, now and again until it has a result. Whether that is so after what can be done at once is done, `result` tells. */
  begin<T>(make: () => T | undefined): Running<T> {
    const running: { result: T | undefined; endedAtUs: number } = { result: undefined, endedAtUs: 0 }
    const job: Job = {
      make: () => {
        running.result = make()
        running.endedAtUs = this.nowUs
        return running.result !== undefined
      },
      made: false,
    }
    this.#jobs.push(job)
    this.#run({ until: () => job.made })
    this.settle()
    return running
  }

  /** The host's CPU takes a turn in `us`, and with it what waits for an answer. */
  wakeIn(us: number): void {
    this.stack.context.cpu.timers.after(us, () => {})
  }

  /** Time passes until then, or until something holds. */
  runUntil(us: number, until: () => boolean = () => false): void {
    if (us > this.nowUs && !until()) this.#run({ untilUs: us, until })
  }

  settle(): void {
    this.runUntil(this.nowUs + SETTLE_US)
  }

  pcb(address: Address): Pcb {
    const p = TcpPcb.cursor(this.machine.memory)
    p.at = address
    return p
  }

  /** The end, whatever goes on. @throws where memory was lost */
  finish(): void {
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }

  /** The end after a failure. */
  abandon(): void {
    this.machine.stop().catch(() => {})
  }

  get #hostLink(): string {
    return linkAddressOf(`${WIRE}.a`)
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join(':')
  }

  #run(options: { until?: () => boolean; untilUs?: number }): void {
    for (const cpu of this.machine.cpus) nudge(this.machine, cpu.index)
    this.machine.run({ ...options, maxSteps: STEPS_MAX })
  }

  #post(frame: Bytes): void {
    this.#outbox.push(frame)
  }

  #addJobs(cpu: Cpu): void {
    cpu.addPollable({
      poll: () => {
        let count = 0
        const jobs = this.#jobs
        this.#jobs = []
        for (const job of jobs) {
          if (!job.made) count++
          job.made = true
          if (job.make()) count++
          else this.#jobs.push(job)
        }
        return count
      },
      flush: () => {},
      // One that waits is looked at again when there is another reason for a turn.
      pending: () => this.#jobs.some(({ made }) => !made),
      close: () => {},
    })
  }

  #addWire(cpu: Cpu, wire: WireOptions): void {
    const queue = new WireQueue(cpu, wire, 'b', () => 0)
    cpu.addPollable({
      poll: () => this.#sendPosted(cpu, queue) + queue.receive(64, (packet) => this.#collect(cpu, packet)),
      flush: () => queue.flush(),
      pending: () => this.#outbox.length > 0 || queue.pending(),
      close: () => queue.close(),
    })
  }

  #sendPosted(cpu: Cpu, queue: WireQueue): number {
    const count = this.#outbox.length
    for (const frame of this.#outbox.splice(0)) {
      if (!queue.transmit(Mbufs.of(cpu).copyFrom(frame)))
        throw new Error(`the wire does not take ${frame.length} bytes`)
    }
    return count
  }

  #collect(cpu: Cpu, packet: Address): void {
    const bytes = Mbufs.of(cpu).bytes(packet)
    Mbufs.of(cpu).free(packet)
    const frame = read(bytes)
    if (frame.arp !== undefined) return this.#answer(frame.arp)
    this.#inbox.push({ frame, atUs: cpu.now })
  }

  /** Any address on the wire is the script's. */
  #answer({ operation, sender, senderLink, target }: NonNullable<Read['arp']>): void {
    if (operation !== 'request' || target === this.#settings.localAddress) return
    const reply = arp({
      ...{ operation: 'reply', sender: target, senderLink: ROUTER_LINK, target: sender, targetLink: senderLink },
    })
    this.#post(ether({ source: ROUTER_LINK, target: senderLink, type: Type.arp }, reply))
  }
}
