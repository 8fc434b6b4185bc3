// The compiled stack once more, with nothing counted in it: what bench/instrumentation.ts holds the real one against. Each
// statement that counts is taken out of the JavaScript that tsc has made, found in its syntax tree:
//
//   count[C.received]++                    an update of a counter, by its name or by whoever is given one
//   this.#tally.received++                 of one that is tallied
//   this.counterPage.fold()                which writes down what was tallied
//   this.#handoffs.waited(record, …)       everything that is told to a hand-off's record
//   cpu.locks.taken(lock, kind, site)      everything that is told to the profile of locks
//   f64[(message >> 3) + QUEUED_AT] = now  the time at which something was queued, which nobody else wants
//
// What the stack itself reads is state and no count, and stays (STATE). A counter that is read anywhere else, or one whose
// update is a part of a larger expression, is an error: then this is to be thought about anew. That nothing was missed, the
// memory of a stripped machine shows, where all counters and all records of hand-offs stay zero (test/uncounted.test.ts).
import { type AnyNode, type CallExpression, type MemberExpression, type Node, parse } from 'acorn'
import { ancestor, simple } from 'acorn-walk'
import { type Changed, changeTree } from './tree.ts'

/**
 * Counts that the stack decides by: how many fragments are held, of a link with faults the number of a packet, and for whoever watches
 * a CPU its turns.
 */
export const STATE: readonly string[] = ['ReassemblyCounters.held', 'CpuCounters.turns', 'FaultCounters.offered']
/** Files that read counts for counts' sake. */
const READERS = new Set(['kernel/counters.js', 'kernel/hardclock.js', 'kernel/lock.js', 'kernel/slab.js'])
/** A TUN queue tries out by its counts which way of steering moves more. */
const STEERED = 'device/tun.js'
/** What measures the stack is not the stack, and the model of what it costs goes by its counts; nor is what a load counts of itself (LOAD), by which it is measured. */
const NOT_THE_STACK = /^(lab|cli|metrics|node)\/|^machine\/costed\.js$|(^|\/)testing\//
const LOAD = 'LoadQueueCounters.'
const TOLD_TO_HANDOFF = new Set(['enqueued', 'depth', 'waited', 'served', 'dropped', 'doorbell'])
const TOLD_TO_PROFILE = new Set(['taken', 'waited', 'released', 'resumed'])
/** What the place is called where the time is kept at which something was queued; and in a ring. */
const QUEUED_AT = new Set(['QUEUED_AT'])
const QUEUED_AT_RING = new Set(['TIME'])
/** Calls that only find the record which is to be told. */
const FINDS_RECORD = new Set(['record', '#recordOf'])

/** Of what counts: counters, what is told to hand-offs together with the times that it takes, and the profile of locks. */
export const PARTS = ['counters', 'handoffs', 'locks'] as const
export type Part = (typeof PARTS)[number]

/**
 * Copies the compiled sources of `from` (`dist`) to `to`, less what counts in the stack. Returns how many statements that were.
 * @throws Error for a counter that the stack reads, or updates within a larger expression
 */
export function stripTree(from: string, to: string, parts: readonly Part[] = PARTS): number {
  return changeTree(
    from,
    to,
    (name) => NOT_THE_STACK.test(name),
    (text, name) => strip(text, name, parts),
  )
}

/** One file; `name` is its path below `src`. @throws Error as `stripTree` */
export function strip(text: string, name: string, parts: readonly Part[] = PARTS): Changed {
  const program = parse(text, { ecmaVersion: 'latest', sourceType: 'module', checkPrivateFields: false })
  const counters = Counters.of(program)
  /** Counters in the file of locks are their profiles. */
  const counting = name === 'kernel/lock.js' ? 'locks' : 'counters'
  const times = name === 'kernel/ipi.js' ? QUEUED_AT_RING : QUEUED_AT
  const edits: { readonly start: number; readonly end: number; readonly text: string }[] = []
  const textOf = ({ start, end }: Node) => text.slice(start, end)
  const isState = (place: MemberExpression) => {
    const named = counters.named(place)
    const isSteered = name === STEERED && named.length > 0 && named.every((each) => each.startsWith('DeviceCounters.'))
    return isSteered || named.some((each) => STATE.includes(each) || each.startsWith(LOAD))
  }
  const isCounted = (place: MemberExpression) => isTallied(place) || (counters.has(place) && !isState(place))
  /** Takes out the statement that consists of `node`. What has to be done nevertheless stays. */
  const remove = (part: Part, node: Node, ancestors: readonly AnyNode[], stays: readonly Node[]) => {
    if (!parts.includes(part)) return
    const statement = ancestors.at(-2)
    if (statement?.type !== 'ExpressionStatement') {
      throw new Error(`${name}: a count is updated within a larger expression: ${textOf(node)}`)
    }
    edits.push({ start: statement.start, end: statement.end, text: `{${stays.map(textOf).join(';')}}` })
  }
  const written = new Set<Node>()
  ancestor<undefined>(program, {
    UpdateExpression(node, _state, ancestors) {
      const place = placeOf(node.argument)
      if (place === undefined) return
      written.add(place)
      if (isCounted(place)) remove(counting, node, ancestors as AnyNode[], [])
    },
    AssignmentExpression(node, _state, ancestors) {
      const place = placeOf(node.left)
      if (place === undefined) return
      written.add(place)
      const stays = doing([node.right])
      if (isCounted(place)) remove(counting, node, ancestors as AnyNode[], stays)
      else if (place.computed && mentions(place.property, times))
        remove('handoffs', node, ancestors as AnyNode[], stays)
    },
    CallExpression(node, _state, ancestors) {
      const told = toldBy(node)
      if (told !== undefined) remove(told, node, ancestors as AnyNode[], doing(node.arguments))
    },
  })
  simple<undefined>(program, {
    MemberExpression(node) {
      if (written.has(node) || READERS.has(name) || isState(node)) return
      if (counters.has(node) || isTallied(node)) throw new Error(`${name}: a count is read: ${textOf(node)}`)
    },
  })
  edits.sort((a, b) => b.start - a.start)
  const stripped = edits.reduce((done, edit) => done.slice(0, edit.start) + edit.text + done.slice(edit.end), text)
  return { text: stripped, places: edits.length }
}

/** What a file calls its counters: `C` for `TcpCounters.index`, and `SENT` for `K.messagesSent`. */
class Counters {
  readonly #sets = new Map([['K', 'CpuCounters']])
  readonly #constants = new Map<string, string>()

  static of(program: Node): Counters {
    const counters = new Counters()
    simple<undefined>(program, {
      VariableDeclarator({ id, init }) {
        if (id.type === 'Identifier' && init?.type === 'MemberExpression') counters.#declare(id.name, init)
      },
    })
    return counters
  }

  #declare(name: string, value: MemberExpression): void {
    const set = setOf(value)
    if (set !== undefined) this.#sets.set(name, set)
    for (const counter of this.#counterOf(value)) this.#constants.set(name, counter)
  }

  /** Whether this is a place in an array of counts. */
  has(place: MemberExpression): boolean {
    return place.computed && (lastName(place.object).replace('#', '') === 'count' || this.named(place).length > 0)
  }

  /** The counters that its index names: two, where one of them is chosen; none, where it comes from elsewhere. */
  named({ computed, property }: MemberExpression): string[] {
    return computed ? this.#namedBy(property) : []
  }

  #namedBy(index: AnyNode): string[] {
    if (index.type === 'MemberExpression') return this.#counterOf(index)
    if (index.type === 'ConditionalExpression') {
      return [...this.#namedBy(index.consequent), ...this.#namedBy(index.alternate)]
    }
    if (index.type === 'BinaryExpression') return [...this.#namedBy(index.left), ...this.#namedBy(index.right)]
    const constant = index.type === 'Identifier' ? this.#constants.get(index.name) : undefined
    return constant === undefined ? [] : [constant]
  }

  #counterOf({ object, property }: MemberExpression): string[] {
    const set = object.type === 'MemberExpression' ? setOf(object) : this.#sets.get(nameOf(object))
    return set === undefined ? [] : [`${set}.${nameOf(property)}`]
  }
}

/** Of `TcpCounters.index` the set. */
function setOf({ object, property }: MemberExpression): string | undefined {
  return nameOf(property) === 'index' && nameOf(object).endsWith('Counters') ? nameOf(object) : undefined
}

/** The element of an array, or the field of an object, that is written to, if it is one. */
function placeOf(target: AnyNode): MemberExpression | undefined {
  return target.type === 'MemberExpression' ? target : undefined
}

/** A field of a tally. */
function isTallied({ computed, object }: MemberExpression): boolean {
  return !computed && lastName(object).replace('#', '') === 'tally'
}

function toldBy({ callee }: CallExpression): Part | undefined {
  if (callee.type !== 'MemberExpression') return undefined
  const whom = lastName(callee.object)
  const method = nameOf(callee.property)
  if (whom.replace('#', '') === 'handoffs' && TOLD_TO_HANDOFF.has(method)) return 'handoffs'
  if (whom === 'counterPage' && method === 'fold') return 'counters'
  return whom === 'locks' && TOLD_TO_PROFILE.has(method) ? 'locks' : undefined
}

/** Those that do more than to find or compute what is told. */
function doing(values: readonly AnyNode[]): AnyNode[] {
  return values.filter((value) => {
    let isDoing = false
    simple<undefined>(value, {
      CallExpression({ callee }) {
        if (callee.type !== 'MemberExpression') isDoing = true
        else if (!FINDS_RECORD.has(nameOf(callee.property)) && lastName(callee.object) !== 'Math') isDoing = true
      },
    })
    return isDoing
  })
}

function mentions(node: AnyNode, names: ReadonlySet<string>): boolean {
  let isMentioned = false
  simple<undefined>(node, {
    Identifier({ name }) {
      if (names.has(name)) isMentioned = true
    },
  })
  return isMentioned
}

/** The last name of a path: `#count` of `this.#sockets.#count`. */
function lastName(node: AnyNode): string {
  return nameOf(node.type === 'MemberExpression' ? node.property : node)
}

function nameOf(node: AnyNode): string {
  if (node.type === 'PrivateIdentifier') return `#${node.name}`
  return node.type === 'Identifier' ? node.name : ''
}
