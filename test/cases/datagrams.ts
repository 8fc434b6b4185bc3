// A UDP socket of a case's program.
import assert from 'node:assert/strict'
import { errnoName, type KernelError } from '../../src/kernel.ts'
import type { Endpoint, UdpMembership, UdpSocket, UdpSocketOptions } from '../../src/stack.ts'
import type { Program } from './program.ts'

export interface Datagram {
  readonly bytes: Uint8Array
  readonly source: string
  readonly port: number
}

export class Datagrams {
  readonly socket: UdpSocket
  answer: number | undefined = undefined
  /** Of ICMP, the last. */
  errno = 0
  #isClosed = false
  readonly #program: Program
  readonly #targets = new Map<string, Endpoint>()

  constructor(program: Program, options: UdpSocketOptions) {
    this.#program = program
    const own: UdpSocketOptions = {
      ...options,
      onReadable: () => program.happened(),
      onError: (_, errno) => {
        this.errno = errno
        program.happened()
      },
    }
    this.socket = program.stack.udp.open(own, (error) => {
      this.answer = error === undefined ? 0 : -error.errno
      program.happened()
    })
  }

  get what(): string {
    return `the UDP socket at port ${this.socket.port}`
  }

  get isOpen(): boolean {
    return this.answer === 0 && !this.#isClosed
  }

  *bound(): Generator<void, void, void> {
    yield* this.#program.until('every CPU to know the socket', () => this.answer !== undefined)
    assert.equal(this.answer, 0, `bind: ${errnoName(this.answer!)}`)
  }

  /** 0 or an errno. */
  send(bytes: Uint8Array, address?: string, port?: number): number {
    return address === undefined
      ? this.socket.sendBytes(bytes)
      : this.socket.sendBytes(bytes, this.#target(address, port!))
  }

  /** The next datagram, waiting for it. */
  *receive(): Generator<void, Datagram, void> {
    yield* this.#program.until('a datagram', () => this.socket.length > 0)
    const next = this.take()
    assert(next !== undefined)
    return next
  }

  /** One that is there. */
  take(): Datagram | undefined {
    const packet = this.socket.receive()
    if (packet === 0) return undefined
    const { context } = this.#program.stack
    const m = context.mbuf()
    m.at = packet
    const source = context.u8.slice(m.source, m.source + 4).join('.')
    const got = { bytes: context.mbufs.bytes(packet), source, port: m.sourcePort }
    context.mbufs.free(packet)
    // Only who has found it empty is told again.
    if (this.socket.length === 0) this.socket.receive()
    return got
  }

  /** Waits until every CPU knows. */
  *connect(address: string, port: number): Generator<void, void, void> {
    let isDone = false
    this.socket.connect(this.#target(address, port), () => {
      isDone = true
      this.#program.happened()
    })
    yield* this.#program.until('every CPU to know the remote end', () => isDone)
  }

  *disconnect(): Generator<void, void, void> {
    let isDone = false
    this.socket.disconnect(() => {
      isDone = true
      this.#program.happened()
    })
    yield* this.#program.until('every CPU to know that it has no remote end', () => isDone)
  }

  *join(membership: UdpMembership): Generator<void, void, void> {
    yield* this.#group((done) => this.socket.join(membership, done))
  }

  *leave(membership: UdpMembership): Generator<void, void, void> {
    yield* this.#group((done) => this.socket.leave(membership, done))
  }

  *#group(run: (done: (error: KernelError | undefined) => void) => void): Generator<void, void, void> {
    let answer: { readonly error: KernelError | undefined } | undefined
    run((error) => {
      answer = { error }
      this.#program.happened()
    })
    yield* this.#program.until('every CPU to know the group', () => answer !== undefined)
    assert.equal(answer?.error, undefined)
  }

  *failed(): Generator<void, string, void> {
    yield* this.#program.until('an error', () => this.errno !== 0)
    return errnoName(this.errno)
  }

  *close(): Generator<void, void, void> {
    let isDone = false
    const isSent = this.socket.close(() => {
      isDone = true
      this.#program.happened()
    })
    assert(isSent, 'there is memory to say so')
    yield* this.#program.until('every CPU to forget the socket', () => isDone)
    for (const target of this.#targets.values()) target.free()
    this.#targets.clear()
    this.#isClosed = true
  }

  #target(address: string, port: number): Endpoint {
    const name = `${address}:${port}`
    const known = this.#targets.get(name)
    if (known !== undefined) return known
    const target = this.#program.stack.endpoint(address, port)
    this.#targets.set(name, target)
    return target
  }
}
