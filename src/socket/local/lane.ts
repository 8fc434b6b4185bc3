// What a datagram socket has for one target and may not send yet. A receiver's buffer belongs to nobody before there is something in it, so who
// has a datagram asks for room, and waits its turn: nothing that was accepted is lost for want of it, and a lane's order is kept.
import type { Address } from '../../base/struct.ts'
import type { Ancillary } from './ancillary.ts'
import type { LocalAddress } from './kind.ts'

/** A datagram that waits. Its rights are its own already. */
export interface Waiting {
  readonly packet: Address
  /** All that may go along. What the receiver wants of it is known when there is room; whose stack it is, and who sends, is known now. */
  readonly ancillary: Ancillary
  /** What goes along though the receiver does not want it: Want. */
  readonly explicit: number
  readonly rank: number
  /** The most that it takes of the receiver's buffer. */
  readonly charge: number
}

export const LaneState = {
  /** Nothing is under way. */
  idle: 0,
  /** Its name's keeper is asked who it is. */
  resolving: 1,
  /** The target is asked for room. */
  asking: 2,
} as const
export type LaneState = (typeof LaneState)[keyof typeof LaneState]

export interface Lane {
  readonly id: number
  readonly name: string
  /** Made by `connect`: whoever takes the name after its target is another one. */
  readonly isPinned: boolean
  target: LocalAddress | undefined
  state: LaneState
  readonly queue: Waiting[]
}
