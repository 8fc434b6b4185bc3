// Connection groups: the state that connections share, as records in the machine's memory, and how a CPU enters one (discipline.ts).
// Whoever is inside a group may touch its connections, its lists and its table; nobody else may, and `assertInside` proves it.
//
// Under connp-t there is one group for each CPU, and a CPU is inside its own all the time. Under the other disciplines a group is a
// lock: whoever has it is inside. What a CPU marks in a group, to be sent or told at the end of the batch, it does in the roll-ups, for
// which it enters each group that it has touched once more. Where the records lie is groupset.ts's; how one discipline takes the place
// of another is change.ts's.
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import type { NetContext } from '../context.ts'
import type { Discipline } from '../discipline.ts'
import { GroupDirectory, GroupRecord, GroupSet } from './groupset.ts'

const LOCK = GroupRecord.offset.lock
const G = GroupRecord.offset

export class Groups {
  /** Entering takes a lock. */
  isLocked = false
  /** All groups have one table, which has a lock of its own. */
  sharesTable = false
  /** The group that this CPU is in, or was in last. */
  current: Address = 0
  /** The group whose table has the connections of `current`. */
  table: Address = 0
  /** Called when this CPU has come to be inside a group. */
  onEnter: () => void = () => {}
  readonly directory: GroupDirectory
  readonly #cpu: Cpu
  readonly #words: Uint32Array
  #set: GroupSet
  #count = 0
  /** Of entering again what one is in. */
  #depth = 0
  /** Those that were entered since the last roll-up. */
  readonly #touched: Address[] = []
  #isTouched = new Uint8Array(0)

  /** @throws KernelError EINVAL */
  constructor(context: NetContext) {
    const { cpu, config, memory } = context
    this.#cpu = cpu
    this.#words = memory.u32
    this.directory = new GroupDirectory(context)
    this.#set = new GroupSet(context, this.directory, 0, config.discipline ?? 'connp-t', config.groups)
    this.use(this.#set)
    cpu.onStop(() => this.#set.end())
  }

  get set(): GroupSet {
    return this.#set
  }

  get discipline(): Discipline {
    return this.#set.discipline
  }

  get count(): number {
    return this.#count
  }

  /** The groups that are at home on this CPU. */
  get home(): readonly Address[] {
    return this.#set.home
  }

  /** From now on these are the groups. The caller frees those that were. */
  use(set: GroupSet): void {
    assert(this.#depth === 0, 'a discipline changes while nobody is inside a group')
    this.#set = set
    this.#count = set.count
    this.isLocked = set.isLocked
    this.sharesTable = set.sharesTable
    this.current = set.idle
    this.table = set.idle
    this.#touched.length = 0
    this.#isTouched = new Uint8Array(set.count)
    this.directory.use(set)
  }

  /** The group of a flow's hash. */
  of(hash: number): Address {
    return this.#set.at(hash % this.#count)
  }

  at(index: number): Address {
    return this.#set.at(index)
  }

  /** Comes to be inside `group`. Once more in the same is nothing; in another one, before the first is left, is a bug. */
  enter(group: Address, site = 0): void {
    if (!this.isLocked) {
      assert(group === this.current, 'a group of connp-t is entered by its own CPU')
      return
    }
    if (this.#depth > 0) assert(group === this.current, 'a CPU is in one group at a time')
    else {
      this.#set.mutex(group).enter(this.#cpu, site)
      this.#begin(group)
    }
    if (this.#depth++ === 0) this.onEnter()
  }

  /** As `enter`, into the group of a flow that a packet belongs to. Under connp-t dispatch has brought it to the right CPU. */
  enterFlow(hash: number, site: number): void {
    if (this.isLocked) this.enter(this.of(hash), site)
  }

  /** Whether this CPU may enter the group of a flow. */
  mayEnter(hash: number): boolean {
    return this.isLocked || this.of(hash) === this.current
  }

  /** Whether this CPU may enter `group`. */
  isOpen(group: Address): boolean {
    return this.isLocked || group === this.current
  }

  /** As `enter`, if nobody else is inside. */
  tryEnter(group: Address): boolean {
    if (!this.isLocked) return true
    if (this.#depth > 0) {
      if (group !== this.current) return false
    } else {
      if (!this.#set.mutex(group).tryEnter(this.#cpu)) return false
      this.#begin(group)
    }
    if (this.#depth++ === 0) this.onEnter()
    return true
  }

  leave(): void {
    if (!this.isLocked) return
    assert(this.#depth > 0, 'a group is left by who has entered it')
    if (--this.#depth === 0) this.#set.mutex(this.current).leave(this.#cpu)
  }

  get isInside(): boolean {
    return !this.isLocked || this.#depth > 0
  }

  /** Runs `each` inside every group that this CPU has touched. Under connp-t that is its own. */
  forTouched(each: () => void, site: number): void {
    if (!this.isLocked) return each()
    // What is called may enter others: those have their turn with the next roll-up.
    const count = this.#touched.length
    for (let i = 0; i < count; i++) {
      this.enter(this.#touched[i]!, site)
      each()
      this.leave()
    }
  }

  /** As `forTouched`, and forgets those in which `each` has left nothing to do. */
  settleTouched(each: () => boolean, site: number): void {
    if (!this.isLocked) {
      each()
      return
    }
    const touched = this.#touched
    const count = touched.length
    let kept = 0
    for (let i = 0; i < count; i++) {
      const group = touched[i]!
      this.enter(group, site)
      if (each()) this.#isTouched[this.#set.indexOf(group)] = 0
      else touched[kept++] = group
      this.leave()
    }
    for (let i = count; i < touched.length; i++) touched[kept++] = touched[i]!
    touched.length = kept
  }

  /** Whether there is a group for the roll-ups. */
  get hasTouched(): boolean {
    return this.#touched.length > 0
  }

  /** What waits in groups at home here is for this CPU's roll-ups, whoever has marked it. */
  touchHome(): void {
    if (!this.isLocked) return
    for (const group of this.home) {
      const g = group >> 2
      const words = this.#words
      if (words[g + OUTPUT_FIRST] !== 0 || words[g + EVENT_FIRST] !== 0 || words[g + DEAD_FIRST] !== 0)
        this.#touch(group)
    }
  }

  /** Stands in `group` without entering it, or in none any more (0): for whoever holds all other CPUs. */
  alone(group: Address): void {
    this.#depth = group === 0 ? 0 : 1
    this.#stand(group === 0 ? this.#set.idle : group)
  }

  /** The machine stops: `each` is the last that happens in this CPU's groups. Nobody enters them any more. */
  closeHome(each: () => void): void {
    if (this.isLocked) this.#closeLocked(each)
    else for (const _group of this.home) each()
  }

  #closeLocked(each: () => void): void {
    const cpu = this.#cpu
    const words = cpu.memory.i32
    // What an exception has left entered: others wait for it.
    if (this.#depth > 0) {
      this.#depth = 0
      this.#set.mutex(this.current).leave(cpu)
    }
    // All of them first, and for good. Whoever is inside leaves soon, in its last turn or as above. Not by `Mutex.enter`, which gives up when
    // the machine stops.
    for (const group of this.home) {
      while (Atomics.compareExchange(words, (group + LOCK) >> 2, 0, cpu.index + 1) !== 0) cpu.host.relax(cpu)
    }
    // Nobody is inside a group, so nobody in the table; writers that gave up may have left their mark.
    if (this.sharesTable && this.home.length > 0) {
      Atomics.store(words, (this.home[0]! + GroupRecord.offset.tableLock) >> 2, 0)
    }
    this.#depth = 1
    for (const group of this.home) {
      this.#begin(group)
      each()
    }
    this.#depth = 0
  }

  #begin(group: Address): void {
    this.#stand(group)
    this.#touch(group)
  }

  #stand(group: Address): void {
    this.current = group
    this.table = this.sharesTable ? this.#set.at(0) : group
  }

  #touch(group: Address): void {
    const index = this.#set.indexOf(group)
    if (this.#isTouched[index] !== 0) return
    this.#isTouched[index] = 1
    this.#touched.push(group)
  }
}

const OUTPUT_FIRST = G.outputFirst >> 2
const EVENT_FIRST = G.eventFirst >> 2
const DEAD_FIRST = G.deadFirst >> 2
