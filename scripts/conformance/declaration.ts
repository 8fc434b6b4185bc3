// The name of what a line stands in: a function, a class's method, a table. It reads the formatter's indentation, which
// the lint guarantees, in place of a grammar: what is on top level starts at column 0, its members at column 2. For source.ts.

const TOP =
  /^(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?<kind>function\*?|class|const|let|interface|type)\s+(?<name>[\w$]+)/
const MEMBER =
  /^ {2}(?:(?:static|async|readonly|override|get|set|abstract|declare)\s+)*\*?(?<name>#?[\w$]+)(?:\s*[?!]?\s*[(<=:;,]|\s*$)/
/** The last line of a head that the formatter broke into several: `): number {`. */
const HEAD_END = /^\s*[)\]}>].*[{([]$/
const WITH_MEMBERS = /^(?:class|interface)$/
/** A constant that is a table or an object, whose members have names. */
const TABLE = /=\s*(?:[\w$.]+\()?\{$/

/**
 * The name of the declaration around a comment, or after it when the comment stands directly before one: `input`,
 * `Window.slide`; undefined where there is none.
 *
 * @param lines the file
 * @param first the comment's first line, counted from 0
 * @param last its last line
 */
export function declarationAt(lines: readonly string[], first: number, last: number): string | undefined {
  const alone = /^\s*(?:\/\/|\/\*)/.test(lines[first]!)
  if (alone) {
    const next = lines.findIndex((line, index) => index > last && !/^\s*(?:$|\/\/|\/?\*)/.test(line))
    const adjacent = next >= 0 && lines.slice(last + 1, next).every((line) => line.trim() !== '')
    if (adjacent && indentOf(lines[next]!) === indentOf(lines[first]!)) {
      const name = declaredAt(lines, next)
      if (name !== undefined) return name
    }
  }
  return nameAround(lines, first)
}

/** The name that a line declares, with its class's name in front. */
function declaredAt(lines: readonly string[], index: number): string | undefined {
  const line = lines[index]!
  const top = nameOf(line)
  if (top !== undefined) return top
  const member = memberOf(line)
  if (member === undefined) return undefined
  const outer = headAround(lines, index, 0)
  return hasMembers(outer) ? `${nameOf(outer)}.${member}` : undefined
}

function nameAround(lines: readonly string[], index: number): string | undefined {
  const line = lines[index]!
  const indent = indentOf(line)
  const top = indent === 0 ? line : headAround(lines, index, 0)
  const name = nameOf(top)
  if (name === undefined || indent === 0 || !hasMembers(top)) return name
  const member = memberOf(indent === 2 ? line : headAround(lines, index, 2))
  return member === undefined ? name : `${name}.${member}`
}

/** The line at an indentation, less than its own, that opens the block around a line. */
function headAround(lines: readonly string[], index: number, indent: number): string {
  for (let at = index - 1; at >= 0; at--) {
    const line = lines[at]!
    if (line.trim() !== '' && indentOf(line) <= indent && !HEAD_END.test(line)) return line
  }
  return ''
}

function hasMembers(head: string): boolean {
  const { kind } = TOP.exec(head)?.groups ?? {}
  return kind !== undefined && (WITH_MEMBERS.test(kind) || (kind === 'const' && TABLE.test(head)))
}

function nameOf(head: string): string | undefined {
  const { name } = TOP.exec(head)?.groups ?? {}
  return name
}

function memberOf(line: string): string | undefined {
  const { name } = MEMBER.exec(line)?.groups ?? {}
  return name
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length
}
