// Changes of JSON that stay JSON: values replaced by odd ones, names changed, left out, doubled, and pieces of another text.
import type { Random } from '../../../src/base/random.ts'

const ODD: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  2,
  0.5,
  1e308,
  -0,
  4294967296,
  9007199254740991,
  '',
  'x',
  '__proto__',
  'constructor',
  'toString',
  '\u0000',
  '<script>alert(1)</script>',
  'ä😀\ud800',
  'x'.repeat(300),
  '2026-01-02T03:04:05.000Z',
  [],
  {},
  [[]],
  [null],
  { length: 7 },
  { order: 'discipline' },
]
const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'order', 'view', 'port', 'format', 'version', '']

/** A changed text. What is no JSON is replaced by something that is. */
export function mutateJson(random: Random, text: string, other: string): string {
  let value = parse(text)
  for (let left = 1 + random.below(3); left > 0; left--) value = change(random, value, parse(other), 0)
  return stringify(value)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

function change(random: Random, value: unknown, other: unknown, depth: number): unknown {
  const isDeep = depth > 12 || random.chance(0.15)
  if (isDeep || typeof value !== 'object' || value === null) return scalar(random, value, other)
  if (Array.isArray(value)) {
    const all: unknown[] = [...(value as readonly unknown[])]
    const at = random.below(Math.max(all.length, 1))
    const what = random.below(6)
    if (what === 0) all.splice(at, 1)
    else if (what === 1) all.splice(at, 0, all[random.below(Math.max(all.length, 1))] ?? null)
    else if (what === 2) all.push(ODD[random.below(ODD.length)])
    else if (all.length > 0) all[at] = change(random, all[at], other, depth + 1)
    return all
  }
  // Pairs, and not an object: so that __proto__ is a name as any other.
  const pairs = Object.entries(value)
  const at = random.below(Math.max(pairs.length, 1))
  const what = random.below(7)
  if (what === 0) pairs.splice(at, 1)
  else if (what === 1) pairs.push([NAMES[random.below(NAMES.length)]!, ODD[random.below(ODD.length)]])
  else if (what === 2 && pairs.length > 0) pairs[at] = [NAMES[random.below(NAMES.length)]!, pairs[at]![1]]
  else if (pairs.length > 0) pairs[at] = [pairs[at]![0], change(random, pairs[at]![1], other, depth + 1)]
  const changed: { [name: string]: unknown } = {}
  for (const [name, each] of pairs) {
    Object.defineProperty(changed, name, { value: each, enumerable: true, configurable: true, writable: true })
  }
  return changed
}

function scalar(random: Random, value: unknown, other: unknown): unknown {
  const what = random.below(5)
  if (what === 0) return other
  if (what === 1 && typeof value === 'number') return value + random.below(5) - 2
  if (what === 2 && typeof value === 'string') return value.slice(0, random.below(value.length + 1))
  if (what === 3) return { '': value }
  return ODD[random.below(ODD.length)]
}

/** As JSON.stringify, but for texts that are too deep for it. */
function stringify(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null'
  } catch {
    return 'null'
  }
}
