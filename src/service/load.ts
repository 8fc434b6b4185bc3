// A client that keeps an echo service busy: flows with datagrams under way, each answer followed by the next question.
// What is lost is asked again by a timer, so that a bad link slows it down and does not end it.
import type { Address } from '../base/struct.ts'
import { counterSet } from '../kernel/counters.ts'
import type { UdpSocket } from '../socket/udp.ts'
import type { Stack } from '../stack.ts'

export const LoadCounters = counterSet('load', ['asked', 'answered', 'retries', 'wrong', 'pings', 'pongs'] as const)
const C = LoadCounters.index

export interface LoadOptions {
  readonly target: string
  readonly port: number
  /** Sockets, each a flow of its own. */
  readonly flows: number
  /** Datagrams under way in each flow. */
  readonly window: number
  /** Payload bytes of each. */
  readonly payload: number
  /** Echo requests (ping) a second; 0: none. */
  readonly pingsPerSecond: number
}

const RETRY_US = 20_000

export class Load {
  readonly #stack: Stack
  readonly #options: LoadOptions
  readonly #count: Float64Array
  readonly #payload: Uint8Array
  readonly #flows: { readonly socket: UdpSocket; underWay: number; answered: number; answeredBefore: number }[] = []
  readonly #m
  #running = true

  constructor(stack: Stack, options: LoadOptions) {
    this.#stack = stack
    this.#options = options
    this.#count = stack.context.count(LoadCounters)
    this.#m = stack.context.mbuf()
    this.#payload = Uint8Array.from({ length: options.payload }, (_, i) => i & 0xff)
    const target = stack.endpoint(options.target, options.port)
    const { cpu } = stack.context
    cpu.onStop(() => target.free())
    for (let i = 0; i < options.flows; i++) {
      stack.udp.open({ onReadable: (socket) => this.#onReadable(socket) }, (error, socket) => {
        if (error !== undefined) throw error
        socket.connect(target)
        this.#flows.push({ socket, underWay: 0, answered: 0, answeredBefore: 0 })
        this.#ask(this.#flows.length - 1)
      })
    }
    this.#retryLater()
    if (options.pingsPerSecond > 0) this.#ping(0)
  }

  /** Asks no more: what is under way still comes back, and then the hosts are at rest. */
  stop(): void {
    this.#running = false
  }

  #ask(index: number): void {
    const flow = this.#flows[index]!
    while (this.#running && flow.underWay < this.#options.window) {
      flow.underWay++
      this.#count[C.asked]!++
      flow.socket.sendBytes(this.#payload)
    }
  }

  #onReadable(socket: UdpSocket): void {
    const m = this.#m
    const index = this.#flows.findIndex((flow) => flow.socket === socket)
    const flow = this.#flows[index]!
    for (let packet: Address = socket.receive(); packet !== 0; packet = socket.receive()) {
      m.at = packet
      flow.answered++
      const isWhole = m.total === this.#payload.length
      this.#count[isWhole ? C.answered : C.wrong]!++
      if (!isWhole || !this.#running) {
        this.#stack.context.mbufs.free(packet)
        if (flow.underWay > 0) flow.underWay--
        continue
      }
      // Given up as lost, and late: then it is one more.
      if (flow.underWay === 0) flow.underWay = 1
      this.#count[C.asked]!++
      // The answer becomes the next question.
      socket.send(packet)
    }
    this.#ask(index)
  }

  /** A flow that heard nothing for a while has lost what was under way. */
  #retryLater(): void {
    this.#stack.context.cpu.timers.after(RETRY_US, () => {
      if (!this.#running) return
      this.#flows.forEach((flow, index) => {
        if (flow.answered === flow.answeredBefore) {
          this.#count[C.retries]!++
          flow.underWay = 0
          this.#ask(index)
        }
        flow.answeredBefore = flow.answered
      })
      this.#retryLater()
    })
  }

  #ping(sequence: number): void {
    const { icmp, context } = this.#stack
    const target = this.#stack.endpoint(this.#options.target, 0)
    context.cpu.onStop(() => target.free())
    icmp.input.onEchoReply = () => {
      this.#count[C.pongs]!++
    }
    const send = (next: number) => {
      if (!this.#running) return
      this.#count[C.pings]!++
      icmp.echo.send(target, 0xdf00 | context.cpu.index, next & 0xffff, 56)
      context.cpu.timers.after(1e6 / this.#options.pingsPerSecond, () => send(next + 1))
    }
    send(sequence)
  }
}
