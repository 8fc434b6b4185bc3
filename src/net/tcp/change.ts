// One discipline takes the place of another while the machine runs: no connection is lost, and no program learns of it.
//
//   prepare   a round over the host's CPUs: each makes its share of the new groups, with empty tables. What cannot be is undone.
//   move      all other CPUs are held (cpusync): the one that changes moves every connection, embryo and TIME-WAIT, what is in the
//             groups' lists, and the timers.
//   adopt     each CPU has the new groups in use before it goes on, and frees its share of the old ones.
//
// Nobody is inside a group then, for a CPU is held between two turns. What is under way between CPUs stays good: a segment that is no
// longer for the CPU that it comes to goes on from there (dispatch.ts), and so does a request (user.ts). The CPU that told a connection's
// program before tells it after (`teller`), or what two have told might change places; only where a connection comes to have a
// CPU of its own does that one tell from now on. What the program's own CPU had told before is there already: it is on that CPU.
import { assert } from '../../base/assert.ts'
import { Errno, KernelError } from '../../base/errno.ts'
import { define } from '../../kernel/function.ts'
import type { Thread } from '../../kernel/thread.ts'
import { type RoundFields, RoundKind, type Rounds } from '../control/round.ts'
import { DISCIPLINES, type Discipline, groupCount } from '../discipline.ts'
import { GroupSet } from './groupset.ts'
import { move } from './move.ts'
import type { Tcp } from './tcp.ts'

export class DisciplineChanges {
  readonly #t: Tcp
  readonly #rounds: Rounds
  /** What is prepared, and not in use yet; and what it takes the place of. */
  #next: GroupSet | undefined = undefined
  #before: GroupSet

  constructor(t: Tcp, rounds: Rounds) {
    this.#t = t
    this.#rounds = rounds
    this.#before = t.groups.set
    t.cpu.slot(ALL, () => [] as DisciplineChanges[])[t.host] = this
    rounds.handle(RoundKind.changeDiscipline, {
      apply: (round) => this.#prepare(round),
      undo: () => this.#drop(),
    })
    t.cpu.onStop(() => this.#stop())
  }

  /**
   * Changes the host's discipline, on all its CPUs. `done` is called here when they go on, or with the error that kept all as it was:
   * EBUSY while another change is under way, ENOMEM, ENOBUFS.
   * @throws KernelError EINVAL for what cannot be; ENETDOWN before the host has started; ENFILE where this CPU has no port or thread left
   */
  change(discipline: Discipline, groups: number | undefined, done: (error: KernelError | undefined) => void): void {
    const { context, cpu } = this.#t
    groupCount(discipline, context.config.cpus.length, groups)
    if (!this.#t.isAttached) {
      const sentence = `discipline ${discipline}: not all CPUs of the host are there: change it when its start has ended`
      throw new KernelError(Errno.ENETDOWN, sentence, 'discipline')
    }
    cpu.threads.start('tcp change', (thread) => this.#run(thread, discipline, groups, done))
  }

  *#run(
    thread: Thread,
    discipline: Discipline,
    groups: number | undefined,
    done: (error: KernelError | undefined) => void,
  ): Generator<void, void, void> {
    const { cpu, host, groups: current } = this.#t
    const errno = yield* this.#prepareAll(thread, discipline, groups)
    if (errno !== 0) return done(new KernelError(errno, sentenceOf(errno, discipline), 'discipline'))
    yield* cpu.cpusync.hold(thread)
    const next = this.#next
    assert(next !== undefined, 'what changes was prepared')
    // Packets refer to bytes of the send buffers, which others may free when they go on.
    for (const each of cpu.pollables) each.flush()
    const isMoved = current.directory.moving(() => {
      move(this.#t, next)
      return next.number
    })
    // The machine stops.
    if (!isMoved) return
    yield* cpu.cpusync.release(ADOPT, host)
    done(undefined)
  }

  *#prepareAll(thread: Thread, discipline: Discipline, groups = 0): Generator<void, number, void> {
    let errno = -1
    const fill = (round: RoundFields) => {
      round.flags = DISCIPLINES.indexOf(discipline)
      round.id = groups
    }
    const started = this.#rounds.start(RoundKind.changeDiscipline, fill, (code) => {
      errno = code
    })
    if (!started) return Errno.ENOBUFS
    yield* thread.until(() => errno >= 0)
    return errno
  }

  #prepare(round: RoundFields): number {
    if (this.#next !== undefined) return Errno.EBUSY
    const { context, groups, table } = this.#t
    const discipline = DISCIPLINES[round.flags]!
    const wanted = round.id === 0 ? undefined : round.id
    let set: GroupSet | undefined
    try {
      set = new GroupSet(context, groups.directory, groups.set.number + 1, discipline, wanted)
      table.open(set)
      if (set.isLocked) this.#t.sharedTimers()
    } catch (error) {
      if (set !== undefined) this.#discard(set)
      if (error instanceof KernelError) return -error.errno
      throw error
    }
    this.#next = set
    return 0
  }

  #drop(): void {
    if (this.#next !== undefined) this.#discard(this.#next)
    this.#next = undefined
  }

  #discard(set: GroupSet): void {
    this.#t.table.close(set)
    set.free()
  }

  /** The new groups are in use here, with all that was moved. While all CPUs are held. */
  adopt(): void {
    const next = this.#next
    assert(next !== undefined, 'what changes was prepared')
    this.#next = undefined
    this.#t.use(next, this.#before)
    this.#before = next
  }

  /** The machine stops: perhaps while the groups are prepared, or while they are moved. */
  #stop(): void {
    if (this.#next === undefined) return
    if (this.#t.groups.directory.stop() === this.#next.number) this.adopt()
    else this.#drop()
  }
}

function sentenceOf(errno: number, discipline: Discipline): string {
  if (errno === Errno.EBUSY) return `discipline ${discipline}: another change is under way: try again when it is done`
  return `discipline ${discipline}: no memory for its groups: nothing has changed; ask for fewer, or boot with more memoryBytes`
}

const ALL = Symbol('discipline changes')
/** Not every CPU of the machine has a part of the host. */
const ADOPT = define('tcp.adopt', (cpu, host) => {
  cpu.slot(ALL, () => [] as DisciplineChanges[])[host]?.adopt()
})
