// Datagrams to an echo service. What comes back is what was sent, and no more often than links double it.

import type { Endpoint } from '../../src/net/endpoint.ts'
import type { Stack, UdpSocket } from '../../src/stack.ts'
import type { Agenda } from './agenda.ts'
import type { DatagramPlan } from './plan.ts'
import type { World } from './world.ts'

const RETRY_US = 10_000

export class Flow {
  readonly plan: DatagramPlan
  sent = 0
  echoed = 0
  #closed = false
  readonly #world: World
  readonly #agenda: Agenda
  readonly #stack: Stack
  readonly #times = new Map<number, number>()
  #socket: UdpSocket | undefined = undefined
  #target: Endpoint | undefined = undefined

  constructor(world: World, agenda: Agenda, stack: Stack, plan: DatagramPlan) {
    this.#world = world
    this.#agenda = agenda
    this.#stack = stack
    this.plan = plan
  }

  /** In a turn of its CPU. @throws KernelError where there is no memory */
  open(address: string, port: number): void {
    this.#target = this.#stack.endpoint(address, port)
    this.#stack.udp.open({ onReadable: (socket) => this.#read(socket) }, (error, socket) => {
      if (error !== undefined) return
      this.#socket = socket
      this.#send()
    })
  }

  /** In a turn of its CPU, which may be later. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#closeSocket()
  }

  /** After the machine's programs have ended. */
  free(): void {
    this.#target?.free()
    this.#target = undefined
  }

  #closeSocket(): void {
    if (this.#socket?.close() === false) this.#agenda.after(RETRY_US, () => this.#closeSocket())
  }

  #send(): void {
    const { id, sizes, everyUs } = this.plan
    if (this.#closed || this.sent === sizes.length) return
    // That there is no memory, no way or no room is a loss like any other.
    this.#socket!.sendBytes(this.#world.content.datagram(id, this.sent, sizes[this.sent]!), this.#target)
    this.sent++
    this.#agenda.after(everyUs, () => this.#send())
  }

  #read(socket: UdpSocket): void {
    const { mbufs } = this.#stack.context
    for (let packet = socket.receive(); packet !== 0; packet = socket.receive()) {
      const bytes = mbufs.bytes(packet)
      mbufs.free(packet)
      this.#world.sabotage.datagram?.(this, bytes)
      this.#check(bytes)
      this.echoed++
    }
  }

  #check(bytes: Uint8Array): void {
    const { id, sizes } = this.plan
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    const number = bytes.length >= 8 && view.getUint32(0) === id ? view.getUint32(4) : -1
    if (number < 0 || number >= this.sent) {
      this.#world.fail('foreign datagram', `flow ${id} got ${bytes.length} bytes that it has not sent`)
    }
    const sent = this.#world.content.datagram(id, number, sizes[number]!)
    if (Buffer.compare(sent, bytes) !== 0) {
      this.#world.fail('wrong datagram', `datagram ${number} of flow ${id} is not what was sent`)
    }
    const times = (this.#times.get(number) ?? 0) + 1
    this.#times.set(number, times)
    if (times > 1 && !this.#world.doubles) {
      this.#world.fail('doubled datagram', `datagram ${number} of flow ${id} came ${times} times, and no link doubles`)
    }
  }
}
