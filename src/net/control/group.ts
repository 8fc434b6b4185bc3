// Joining and leaving groups: a socket is on one CPU, and each CPU of the host must take what is sent to its groups. Changes
// go round (round.ts), so that each CPU counts the members in one order.
import { Errno } from '../../base/errno.ts'
import type { Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import type { Groups } from '../group.ts'
import { type RoundFields, RoundKind, type Rounds } from './round.ts'

/** A leave cannot be refused. Without memory for its message it is tried again after so long. */
const AGAIN_US = 10_000

export class GroupRounds {
  readonly #context: NetContext
  readonly #rounds: Rounds

  constructor(context: NetContext, rounds: Rounds, groups: Groups) {
    this.#context = context
    this.#rounds = rounds
    const leave = (round: RoundFields) => groups.leave(round.interfaceIndex, round.family as Family, round.first)
    rounds.handle(RoundKind.joinGroup, {
      apply: (round) => groups.join(round.interfaceIndex, round.family as Family, round.first),
      undo: leave,
    })
    rounds.handle(RoundKind.leaveGroup, {
      apply: (round) => {
        leave(round)
        return 0
      },
      undo: () => {},
    })
  }

  /** One member more, on all CPUs. `done` is called here with 0, or with ENOBUFS, and then nothing has changed. */
  join(interfaceIndex: number, family: Family, group: Uint8Array, done: (errno: number) => void): void {
    if (!this.#start(RoundKind.joinGroup, interfaceIndex, family, group, done)) done(Errno.ENOBUFS)
  }

  /** One member less. `done` is called here when all CPUs know. Only after the join's `done` has told 0. */
  leave(interfaceIndex: number, family: Family, group: Uint8Array, done: () => void): void {
    if (this.#start(RoundKind.leaveGroup, interfaceIndex, family, group, done)) return
    this.#context.cpu.timers.after(AGAIN_US, () => this.leave(interfaceIndex, family, group, done))
  }

  #start(
    kind: RoundKind,
    interfaceIndex: number,
    family: Family,
    group: Uint8Array,
    done: (errno: number) => void,
  ): boolean {
    const fill = (round: RoundFields) => {
      round.interfaceIndex = interfaceIndex
      round.family = family
      this.#context.u8.set(group, round.first)
    }
    return this.#rounds.start(kind, fill, done)
  }
}
