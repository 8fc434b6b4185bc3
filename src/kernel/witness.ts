// The checker of lock orders (FreeBSD's witness(4)): while it is on it notes, for each pair of lock classes, that one was taken while the other was
// held. Two orders that contradict each other can deadlock some day, whether they do today or not; the second to be met is a
// failure, which tells the stacks of both. Locks of one class are not held two at a time.
//
// The orders are the machine's, and not a CPU's: they stand in its directory of names, each with the number of a text that says from where
// (trace/text.ts).
// Whoever only tries takes what it gets and waits for nobody: that is no order. Tokens are given up by who waits, and have none.
import { AssertionFailure } from '../base/assert.ts'
import { KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'
import { LOCK_SITES, lockClassName, lockSiteName } from './lock.ts'
import type { Memory } from './memory.ts'
import { NameKind, type Names } from './name.ts'
import type { Thread } from './thread.ts'
import { type CallSite, callSites, framesOf, sitesText } from './trace/callsite.ts'
import { frameLine } from './trace/chain.ts'
import { sourcePositions } from './trace/sourcemap.ts'
import { type TextId, textOf } from './trace/text.ts'
import type { Entry } from './trace/tracer.ts'

/** A lock that is held, and from where it was taken. */
interface Held {
  readonly lock: Address
  readonly lockClass: number
  readonly site: number
  /** Of the first that was taken at this site; text only when somebody wants to read it. */
  readonly sites: readonly CallSite[]
}

const FRAMES = 10
const PREFIX = 'order/'
const BETWEEN = '>'
/** See `placeOf`. */
const CPU_SHIFT = 24
const SLOT_BITS = 10
const SLOT_MASK = (1 << SLOT_BITS) - 1
const SLOT_SHIFT = CPU_SHIFT - SLOT_BITS
const GENERATION_MASK = (1 << SLOT_SHIFT) - 1

export class Witness {
  readonly #cpu: Cpu
  readonly #names: Names
  /** Locks that are held, by the thread that holds them, or the CPU outside of any. */
  readonly #held = new Map<Thread | Cpu, Held[]>()
  readonly #firsts = new Map<number, readonly CallSite[]>()
  /** Orders that are known to be there. */
  readonly #known = new Set<string>()

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#names = cpu.names
  }

  /**
   * A lock is about to be taken, and waited for if need be. `entry` is the function that was called for it.
   * @throws AssertionFailure where that is against an order that was seen before, with the stacks of both
   */
  wants(lockClass: number, site: number, entry: Entry): void {
    const held = this.#held.get(this.#holder)
    if (held === undefined || held.length === 0) return
    for (const other of held) this.#order(other, lockClass, site, entry)
  }

  /** It was taken, by whatever way. */
  acquired(lock: Address, lockClass: number, site: number, entry: Entry): void {
    const holder = this.#holder
    const held = this.#held.get(holder)
    const taken = { lock, lockClass, site, sites: this.#sitesOf(lockClass, site, entry) }
    if (held === undefined) this.#held.set(holder, [taken])
    else held.push(taken)
  }

  /**
   * From where a lock of a class is taken at a site, taken down the first time: a stack costs as much as a hundred acquisitions. A lock
   * that is taken at no site in particular may be taken anywhere.
   */
  #sitesOf(lockClass: number, site: number, entry: Entry): readonly CallSite[] {
    if (site === 0) return callSites(FRAMES, entry)
    const key = lockClass * LOCK_SITES + site
    const known = this.#firsts.get(key)
    if (known !== undefined) return known
    const sites = callSites(FRAMES, entry)
    this.#firsts.set(key, sites)
    return sites
  }

  released(lock: Address): void {
    // A thread may have moved on by then: whoever has it.
    for (const [holder, held] of this.#held) {
      const at = held.findIndex((each) => each.lock === lock)
      if (at < 0) continue
      held.splice(at, 1)
      if (held.length === 0) this.#held.delete(holder)
      return
    }
  }

  get #holder(): Thread | Cpu {
    return this.#cpu.threads.current ?? this.#cpu
  }

  #order(first: Held, lockClass: number, site: number, entry: Entry): void {
    const before = lockClassName(first.lockClass)
    const after = lockClassName(lockClass)
    const name = `${PREFIX}${before}${BETWEEN}${after}`
    if (this.#known.has(name)) return
    const against = this.#pathBetween(after, before)
    if (against !== undefined) this.#reversed(first, lockClass, site, entry, against)
    this.#note(name, first, lockClass, site, entry)
    this.#known.add(name)
  }

  /** The orders that lead from one class to another; none for a class and itself. */
  #pathBetween(from: string, to: string): string[] | undefined {
    if (from === to) return []
    const next = new Map<string, string[]>()
    for (const { name } of this.#names.list(NameKind.other)) {
      if (!name.startsWith(PREFIX)) continue
      const [before = '', after = ''] = name.slice(PREFIX.length).split(BETWEEN)
      next.set(before, [...(next.get(before) ?? []), after])
    }
    const cameBy = new Map<string, string>()
    const open = [from]
    for (const at of open) {
      for (const each of next.get(at) ?? []) {
        if (cameBy.has(each)) continue
        cameBy.set(each, at)
        open.push(each)
      }
    }
    if (!cameBy.has(to)) return undefined
    const path: string[] = []
    for (let at = to; at !== from; at = cameBy.get(at)!) path.unshift(`${PREFIX}${cameBy.get(at)!}${BETWEEN}${at}`)
    return path
  }

  #note(name: string, first: Held, lockClass: number, site: number, entry: Entry): void {
    const text = this.#cpu.tracer.label(`${heldText(first)}\n${takenText(lockClass, site, entry)}`)
    try {
      this.#names.add(name, placeOf(this.#cpu.index, text))
    } catch (error) {
      // Another CPU has met the same order, or there is no room for more names.
      if (!(error instanceof KernelError)) throw error
    }
  }

  #reversed(first: Held, lockClass: number, site: number, entry: Entry, against: readonly string[]): never {
    const now = `${heldText(first)}\n${takenText(lockClass, site, entry)}`
    const before = against.map((name) => {
      const classes = name.slice(PREFIX.length).replace(BETWEEN, ' before ')
      return `before that, ${classes}:\n${textAt(this.#cpu.memory, this.#names.find(name))}`
    })
    const classes = `"${lockClassName(lockClass)}" while "${lockClassName(first.lockClass)}" is held`
    const why = against.length === 0 ? ', which is of the same class' : ', against the order of before'
    throw new AssertionFailure([`a lock is taken against its order: ${classes}${why}`, now, ...before].join('\n'))
  }
}

/** A text of a CPU as one number that is a name's value: its CPU, its slot, and as much of its generation as has room. */
function placeOf(cpu: number, text: TextId): number {
  return ((cpu << CPU_SHIFT) | ((text & SLOT_MASK) << SLOT_SHIFT) | ((text >>> SLOT_BITS) & GENERATION_MASK)) >>> 0
}

function textAt(memory: Memory, place: number): string {
  const id = ((place & GENERATION_MASK) << SLOT_BITS) | ((place >>> SLOT_SHIFT) & SLOT_MASK)
  return textOf(memory, place >>> CPU_SHIFT, id) ?? '(no longer kept)'
}

function heldText({ lockClass, site, sites }: Held): string {
  return `"${lockClassName(lockClass)}" was taken${siteText(site)}:\n${stackText(sites)}`
}

function takenText(lockClass: number, site: number, entry: Entry): string {
  return `then "${lockClassName(lockClass)}"${siteText(site)}:\n${stackText(callSites(FRAMES, entry))}`
}

function siteText(site: number): string {
  return site === 0 ? '' : ` at "${lockSiteName(site)}"`
}

function stackText(sites: readonly CallSite[]): string {
  const frames = framesOf(sitesText(sites))
  return frames.map((frame) => frameLine(sourcePositions.original(frame))).join('\n')
}
