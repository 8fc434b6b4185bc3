// The compiled stack once more, with no tracing in it: what bench/provenance.ts holds the real one against. Whatever asks whether something is
// traced is taken out of the JavaScript that tsc has made, in its syntax tree, as if the answer were always no:
//
//   t.traceMarks !== 0                     false, as in mode off, and what holds them against it by === 0 true
//   this.#traceMarks                       0
//   if (this.#tracer.isSet) …              the statement, or what stands behind its else
//   this.#tracer.on && …, tracer.on ? … : …  false, and the last part
//   tracer.on || …                         false: something may be traced, though what runs is not
//   t.traceMarks === TRACED || …           likewise
//   tracer.concerns(message)               false
//   (state & TRACED) !== 0                 false, and what holds it against === 0 true
//   tracer.current = …                     what runs now was caused by nothing
//   this.tracer.look()                     the look at the mode, each turn
//
// That nothing was missed, its test shows: a stripped machine in mode `all` has no record.
import { type AnyNode, type Node, parse } from 'acorn'
import { ancestor } from 'acorn-walk'
import { type Changed, changeTree } from './tree.ts'

/** What is no part of what a stack does for a packet. */
const NOT_THE_STACK = /^(lab|cli|metrics|service)\/|^kernel\/trace\/|(^|\/)testing\//

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** Copies the compiled sources of `from` (`dist`) to `to`, without tracing. Returns in how many places that was. */
export function untraceTree(from: string, to: string): number {
  return changeTree(from, to, (name) => NOT_THE_STACK.test(name), untrace)
}

/** One file. */
export function untrace(text: string): Changed {
  const program = parse(text, { ecmaVersion: 'latest', sourceType: 'module', checkPrivateFields: false })
  const edits: Edit[] = []
  const part = (node: Node) => text.slice(node.start, node.end)
  const replace = (node: Node, by: string) => edits.push({ start: node.start, end: node.end, text: by })
  ancestor<undefined>(program, {
    IfStatement(node) {
      if (isFalse(node.test)) replace(node, node.alternate ? part(node.alternate) : '{}')
      else if (isTrue(node.test)) replace(node, part(node.consequent))
    },
    BinaryExpression(node) {
      if (isFlag(node.left)) replace(node, node.operator === '===' ? 'true' : 'false')
    },
    ConditionalExpression(node) {
      if (isFalse(node.test)) replace(node, `(${part(node.alternate)})`)
      else if (isTrue(node.test)) replace(node, `(${part(node.consequent)})`)
    },
    LogicalExpression(node) {
      if (isFalse(node)) replace(node, 'false')
    },
    MemberExpression(node, _state, ancestors) {
      const parent = (ancestors as AnyNode[]).at(-2)
      const isTarget = parent?.type === 'AssignmentExpression' && parent.left === node
      if (isMarks(node) && !isTarget) replace(node, '0')
    },
    AssignmentExpression(node, _state, ancestors) {
      const statement = (ancestors as AnyNode[]).at(-2)
      if (statement?.type === 'ExpressionStatement' && isCurrent(node.left)) replace(statement, '{}')
    },
    CallExpression(node, _state, ancestors) {
      if (isFalse(node)) replace(node, 'false')
      const statement = (ancestors as AnyNode[]).at(-2)
      if (statement?.type !== 'ExpressionStatement' || node.callee.type !== 'MemberExpression') return
      if (isTracer(node.callee.object) && nameOf(node.callee.property) === 'look') replace(statement, '{}')
    },
  })
  // Of edits one in the other the outer one holds.
  edits.sort((a, b) => a.start - b.start || b.end - a.end)
  let untraced = ''
  let at = 0
  let places = 0
  for (const edit of edits) {
    if (edit.start < at) continue
    untraced += text.slice(at, edit.start) + edit.text
    at = edit.end
    places++
  }
  return { text: untraced + text.slice(at), places }
}

/** `tracer.isSet`, `tracer.on`, `tracer.concerns(…)` or `traceMarks !== 0`, or that and something else; and `tracer.on || …`, `traceMarks === TRACED || …`. */
function isFalse(node: AnyNode): boolean {
  if (node.type === 'LogicalExpression') {
    if (node.operator === '||') return isAsked(node.left, ['on']) || isMarksAgainst(node.left, '===', 'TRACED')
    return node.operator === '&&' && (isFalse(node.left) || isFalse(node.right))
  }
  if (node.type === 'CallExpression') return isAsked(node.callee, ['concerns'])
  if (isMarksAgainst(node, '!==', '0')) return true
  return isAsked(node, ['isSet', 'on'])
}

function isAsked(node: AnyNode, names: readonly string[]): boolean {
  return node.type === 'MemberExpression' && isTracer(node.object) && names.includes(nameOf(node.property))
}

/** `!tracer.isSet` or `traceMarks === 0`, or that or something else. */
function isTrue(node: AnyNode): boolean {
  if (node.type === 'LogicalExpression') return node.operator === '||' && (isTrue(node.left) || isTrue(node.right))
  if (isMarksAgainst(node, '===', '0')) return true
  return node.type === 'UnaryExpression' && node.operator === '!' && isFalse(node.argument)
}

function isMarks(node: AnyNode): boolean {
  return /^#?traceMarks$/.test(nameOf(node.type === 'MemberExpression' ? node.property : node))
}

function isMarksAgainst(node: AnyNode, operator: string, what: string): boolean {
  if (node.type !== 'BinaryExpression' || node.operator !== operator || !isMarks(node.left)) return false
  return (node.right.type === 'Literal' ? node.right.raw : nameOf(node.right)) === what
}

/** `… & TRACED`: the flag of a message. */
function isFlag(node: AnyNode): boolean {
  return node.type === 'BinaryExpression' && node.operator === '&' && nameOf(node.right) === 'TRACED'
}

function isCurrent(node: AnyNode): boolean {
  return node.type === 'MemberExpression' && isTracer(node.object) && nameOf(node.property) === 'current'
}

function isTracer(node: AnyNode): boolean {
  const name = nameOf(node.type === 'MemberExpression' ? node.property : node)
  return name === 'tracer' || name === '#tracer'
}

function nameOf(node: AnyNode): string {
  if (node.type === 'PrivateIdentifier') return `#${node.name}`
  return node.type === 'Identifier' ? node.name : ''
}
