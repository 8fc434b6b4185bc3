// What stands between %{ and }%: Python in packetdrill, and of that the part that scripts use: assertions over numbers with names. It is
// read and computed here, and never run as a program.
//
//     assert tcpi_snd_cwnd == 10 and tcpi_unacked <= 5, tcpi_unacked
//     x = tcpi_rtt / 1000
//     print tcpi_rto                                                      is left out
import { Unsupported } from './error.ts'
import { Expression } from './expression.ts'

/** What a name stands for; undefined: there is none of this name. */
export type Lookup = (name: string) => number | undefined

/**
 * Checks all assertions of a piece of code. Returns the first that does not hold, as a sentence with the names' values, or undefined.
 * @throws Unsupported where it is more than assertions, or has a name that `lookup` does not know
 */
export function checkAssertions(code: string, line: number, lookup: Lookup): string | undefined {
  const own = new Map<string, number>()
  for (const statement of statements(code)) {
    const [, keyword, rest = ''] = /^(assert|print)\b([\s\S]*)$/.exec(statement) ?? []
    if (keyword === 'print') continue
    if (keyword === 'assert') {
      const broken = checkOne(withoutMessage(rest), line, (name) => own.get(name) ?? lookup(name))
      if (broken !== undefined) return broken
      continue
    }
    const [, name, value] = /^([A-Za-z_]\w*)\s*=(?!=)([\s\S]*)$/.exec(statement) ?? []
    if (name === undefined || value === undefined) {
      throw new Unsupported(line, `of Python only assert, print and name = value are supported, not: ${statement}`)
    }
    own.set(
      name,
      evaluate(value, line, (other) => own.get(other) ?? lookup(other)),
    )
  }
  return undefined
}

function checkOne(condition: string, line: number, lookup: Lookup): string | undefined {
  const seen = new Map<string, number>()
  const value = evaluate(condition, line, (name) => {
    const found = lookup(name)
    if (found !== undefined) seen.set(name, found)
    return found
  })
  if (value !== 0) return undefined
  const values = [...seen].map(([name, number]) => `${name} is ${number}`).join(', ')
  return `assertion failed: ${condition.replace(/\s+/g, ' ').trim()}${values === '' ? '' : `; ${values}`}`
}

function evaluate(text: string, line: number, lookup: Lookup): number {
  return new Expression(text, line, (name) => {
    const value = lookup(name)
    if (value === undefined) throw new Unsupported(line, `${name} is not known here`)
    return value
  }).evaluate()
}

/** Ended by a line's end or `;`, where these are not within parentheses or a string; a backslash joins lines; `#` begins a comment. */
function statements(code: string): string[] {
  const joined = code.replace(/\\\n/g, ' ').replace(/#[^\n]*/g, '')
  return split(joined, (character) => character === '\n' || character === ';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}

/** `condition, message`: the message is for people. */
function withoutMessage(text: string): string {
  return split(text, (character) => character === ',')[0]!
}

function split(text: string, isEnd: (character: string) => boolean): string[] {
  const parts: string[] = []
  let depth = 0
  let quote = ''
  let from = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!
    if (quote !== '') {
      if (character === quote) quote = ''
    } else if (character === '"' || character === "'") quote = character
    else if ('([{'.includes(character)) depth++
    else if (')]}'.includes(character)) depth--
    else if (depth === 0 && isEnd(character)) {
      parts.push(text.slice(from, at))
      from = at + 1
    }
  }
  parts.push(text.slice(from))
  return parts
}
