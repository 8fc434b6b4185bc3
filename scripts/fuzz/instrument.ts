// The compiled stack once more, with a counter on every edge that its code can take: what a fuzz run is guided by. A byte for each edge, in
// one array of the thread (`EDGES`), which counts how often the edge was taken. Edges are found in the syntax tree: functions, the branches of
// `if`, `?:`, `switch` and `try`, the bodies of loops, and the right sides of `&&`, `||` and `??`.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type AnyNode, parse } from 'acorn'

/** The name of the array, as a property of the global object. */
export const EDGES = 'damselflyEdges'

/** What is guided by: everything that reads bytes which somebody else has written. */
const WATCHED =
  /^src\/(net|socket|device\/pcap|cli\/control|service|lab\/(results|outcome|plan|measurements|view|report))/

export interface Instrumented {
  readonly text: string
  /** Edges that the file has. */
  readonly edges: number
}

export interface Tree {
  readonly folder: string
  /** How many edges there are. */
  readonly edges: number
}

/**
 * A copy of the compiled sources and scripts of `dist`, with counters in those that are watched, in a folder of its own: to be removed again.
 * Where packages are found from, and where nobody looks who walks through `dist`.
 */
export function instrumentTree(dist: string): Tree {
  const caches = join(dist, '..', 'node_modules', '.cache')
  mkdirSync(caches, { recursive: true })
  const folder = mkdtempSync(join(caches, 'damselfly-'))
  let edges = 0
  for (const part of ['src', 'scripts']) {
    for (const name of readdirSync(join(dist, part), { recursive: true, encoding: 'utf8' })) {
      const entry = join(part, name)
      if (!/\.(js|wasm)$/.test(entry) || entry.endsWith('.test.js')) continue
      mkdirSync(dirname(join(folder, entry)), { recursive: true })
      if (!WATCHED.test(entry) || !entry.endsWith('.js') || entry.includes('/testing/')) {
        cpSync(join(dist, entry), join(folder, entry))
        continue
      }
      const instrumented = instrument(readFileSync(join(dist, entry), 'utf8'), edges)
      edges += instrumented.edges
      writeFileSync(join(folder, entry), instrumented.text)
    }
  }
  return { folder, edges }
}

/** One file, whose edges are numbered from `first`. */
export function instrument(text: string, first: number): Instrumented {
  const program = parse(text, { ecmaVersion: 'latest', sourceType: 'module', checkPrivateFields: false })
  const edits = new Edits(first)
  visit(program, edits)
  const body = edits.apply(text)
  return { text: `const __edges = globalThis.${EDGES};${body}`, edges: edits.count - first }
}

/** Texts to be put in, all of them between what was there. */
class Edits {
  count: number
  readonly #opening: { readonly at: number; readonly text: string }[] = []
  readonly #closing: { readonly at: number; readonly text: string }[] = []

  constructor(first: number) {
    this.count = first
  }

  /** A statement becomes a block that counts first. */
  statement({ start, end, type }: AnyNode): void {
    if (type === 'BlockStatement') this.#opening.push({ at: start + 1, text: `${this.#edge()};` })
    else this.#around(start, end, `{${this.#edge()};`, '}')
  }

  expression({ start, end }: AnyNode): void {
    this.#around(start, end, `(${this.#edge()},(`, '))')
  }

  /** Counts at a place where a statement may stand. */
  at(at: number): void {
    this.#opening.push({ at, text: `${this.#edge()};` })
  }

  /** The branch of an `if` that there is none of. */
  otherwise(end: number): void {
    this.#closing.push({ at: end, text: ` else {${this.#edge()}}` })
  }

  apply(text: string): string {
    // At one place what ends there comes first, the inner before the outer; then what begins, the outer first.
    const closing = this.#closing.map((edit, order) => ({ ...edit, rank: 0, order: -order }))
    const opening = this.#opening.map((edit, order) => ({ ...edit, rank: 1, order }))
    const all = [...closing, ...opening].sort((a, b) => a.at - b.at || a.rank - b.rank || a.order - b.order)
    const parts: string[] = []
    let done = 0
    for (const { at, text: put } of all) {
      parts.push(text.slice(done, at), put)
      done = at
    }
    return parts.join('') + text.slice(done)
  }

  #around(start: number, end: number, open: string, close: string): void {
    this.#opening.push({ at: start, text: open })
    this.#closing.push({ at: end, text: close })
  }

  #edge(): string {
    return `__edges[${this.count++}]++`
  }
}

function visit(node: AnyNode, edits: Edits): void {
  switch (node.type) {
    case 'FunctionDeclaration':
    case 'FunctionExpression':
    case 'ArrowFunctionExpression':
      if (node.body.type === 'BlockStatement') edits.statement(node.body)
      else edits.expression(node.body)
      break
    case 'IfStatement':
      // What closes outside is put in first: `else` stands behind the block that is made of the branch.
      if (node.alternate) edits.statement(node.alternate)
      else edits.otherwise(node.consequent.end)
      edits.statement(node.consequent)
      break
    case 'ForStatement':
    case 'ForOfStatement':
    case 'ForInStatement':
    case 'WhileStatement':
    case 'DoWhileStatement':
      if (node.body.type !== 'EmptyStatement') edits.statement(node.body)
      break
    case 'SwitchCase':
      if (node.consequent[0] !== undefined) edits.at(node.consequent[0].start)
      break
    case 'CatchClause':
      edits.statement(node.body)
      break
    case 'ConditionalExpression':
      edits.expression(node.consequent)
      edits.expression(node.alternate)
      break
    case 'LogicalExpression':
      edits.expression(node.right)
      break
    case 'AssignmentExpression':
      if (['&&=', '||=', '??='].includes(node.operator)) edits.expression(node.right)
      break
  }
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      for (const each of value) if (isNode(each)) visit(each, edits)
    } else if (isNode(value)) visit(value, edits)
  }
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value
}
