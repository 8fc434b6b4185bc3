// Changes that concern every CPU of a host travel as one message: from the control CPU to the next, and on, and the last
// one answers (netisr's chain, DragonFly). So all replicas see all changes in one order. When one CPU cannot carry a change
// out, the round goes again over those that have, and undoes it: a replica never stays alone with a change.
import { assert } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import { type Address, bytes, i32, u8, u16, u32 } from '../../base/struct.ts'
import { EASYNC, message } from '../../kernel/message.ts'
import type { Port, PortId } from '../../kernel/port.ts'
import type { NetContext } from '../context.ts'

/** One change. What the fields behind `kind` mean is the kind's affair. */
export const Round = message('round', {
  kind: u16, //         48  RoundKind
  undoing: u16, //      50  1 on the way back
  position: u16, //     52  which of the host's CPUs has it
  failedAt: u16, //     54  on the way back: the CPU that could not
  code: i32, //         56  its errno
  family: u8, //        60
  length: u8, //        61
  flags: u16, //        62
  localPort: u16, //    64
  remotePort: u16, //   66
  interfaceIndex: u16, // 68
  cpu: u16, //          70  the CPU of the socket
  port: u32, //         72  the port of the socket
  id: u32, //           76
  first: bytes(16), //  80  an address
  second: bytes(16), // 96  an address
  record: u32, //      112  what all CPUs share of it
  padding: bytes(12),
})
assert(Round.size === 128, 'a round fits in two cache lines')

export const RoundKind = {
  addRoute: 1,
  removeRoute: 2,
  bindUdp: 3,
  unbindUdp: 4,
  connectUdp: 5,
  listenTcp: 6,
  unlistenTcp: 7,
  joinGroup: 8,
  leaveGroup: 9,
  changeDiscipline: 10,
} as const
export type RoundKind = (typeof RoundKind)[keyof typeof RoundKind]

/** The type of a cursor over a round. */
export type RoundFields = ReturnType<(typeof Round)['cursor']>

/** Carries a change out on this CPU, or undoes it. Returns 0 or an errno; an undo cannot fail. */
export interface RoundHandler {
  apply(round: ReturnType<(typeof Round)['cursor']>): number
  undo(round: ReturnType<(typeof Round)['cursor']>): void
}

export class Rounds {
  readonly #context: NetContext
  readonly #round
  readonly #handlers = new Map<number, RoundHandler>()
  readonly #waiting = new Map<Address, (code: number) => void>()
  readonly #replies: Port
  readonly #ports: PortId[] = []

  constructor(context: NetContext) {
    this.#context = context
    this.#round = Round.cursor(context.memory)
    const { ports } = context.cpu
    ports.create({
      name: context.portName('control', context.cpu.index),
      point: 'control',
      dispatch: 'deferred',
      handler: (m) => this.#pass(m),
    })
    this.#replies = ports.create({ point: 'control', onReply: (m) => this.#done(m) })
  }

  /** What is done here for a kind of change. */
  handle(kind: RoundKind, handler: RoundHandler): void {
    this.#handlers.set(kind, handler)
  }

  /**
   * Starts a round. `fill` writes the change's fields; `done` is called here with 0 or the errno of the CPU that could not.
   * False, and nothing happens, when there is no memory for the message.
   */
  start(
    kind: RoundKind,
    fill: (round: ReturnType<(typeof Round)['cursor']>) => void,
    done: (code: number) => void,
  ): boolean {
    const { cpu } = this.#context
    const m = cpu.ports.tryAllocate(Round, this.#replies.id)
    if (m === 0) return false
    const round = this.#round
    cpu.memory.u8.fill(0, m + Round.offset.kind, m + Round.size)
    round.at = m
    round.kind = kind
    fill(round)
    this.#waiting.set(m, done)
    cpu.ports.send(this.#port(0), m)
    return true
  }

  #pass(m: Address): number {
    const round = this.#round
    round.at = m
    const handler = this.#handlers.get(round.kind)
    if (handler === undefined) return Errno.EOPNOTSUPP
    if (round.undoing === 0) {
      const code = handler.apply(round)
      round.at = m
      if (code !== 0) {
        if (round.position === 0) return code
        round.code = code
        round.undoing = 1
        round.failedAt = round.position
        round.position = 0
        this.#context.cpu.ports.forward(this.#port(0), m)
        return EASYNC
      }
      if (++round.position === this.#context.members.length) return 0
    } else {
      handler.undo(round)
      round.at = m
      if (++round.position === round.failedAt) return round.code
    }
    this.#context.cpu.ports.forward(this.#port(round.position), m)
    return EASYNC
  }

  #done(m: Address): void {
    const { ports, slab } = this.#context.cpu
    const code = ports.error(m)
    const done = this.#waiting.get(m)
    this.#waiting.delete(m)
    slab.free(m)
    done?.(code)
  }

  /** The control port of the host's CPU at `position`. */
  #port(position: number): PortId {
    const cpu = this.#context.members[position]!
    this.#ports[position] ||= this.#context.cpu.ports.lookup(this.#context.portName('control', cpu))
    return this.#ports[position]
  }
}
