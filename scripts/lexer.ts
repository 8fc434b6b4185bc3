// Takes JavaScript and TypeScript text apart into comments, strings and code: as much of a lexer as is needed to look for
// something in comments without finding it in strings, and the other way round. For the scripts beside it.
//
// What it does not know: whether a `/` after `)` or `}` begins a regular expression. It takes that for a division. Quotes
// in such an expression open a string, which at the latest ends with its line.

export interface Piece {
  readonly kind: 'comment' | 'string' | 'code'
  /** Where it starts and ends in the text, marks and quotes included. */
  readonly start: number
  readonly end: number
}

/** After one of these words a `/` begins a regular expression. */
const BEFORE_EXPRESSION = new Set(['return', 'typeof', 'case', 'in', 'of', 'delete', 'void', 'yield', 'await', 'else'])

/** The pieces of a text, in order; what is neither comment nor string is code, regular expressions included. */
export function lex(text: string): Piece[] {
  const pieces: Piece[] = []
  let codeStart = 0
  let at = 0
  const push = (kind: 'comment' | 'string', end: number) => {
    if (at > codeStart) pieces.push({ kind: 'code', start: codeStart, end: at })
    pieces.push({ kind, start: at, end })
    at = codeStart = end
  }
  if (text.startsWith('#!')) push('comment', lineEnd(text, 0))
  while (at < text.length) {
    const character = text[at]!
    const next = text[at + 1]
    if (character === '/' && next === '/') push('comment', lineEnd(text, at))
    else if (character === '/' && next === '*') push('comment', after(text, '*/', at + 2))
    else if (character === "'" || character === '"') push('string', quotedEnd(text, at))
    else if (character === '`') push('string', templateEnd(text, at))
    else if (character === '/' && beginsExpression(text.slice(codeStart, at), pieces)) at = expressionEnd(text, at)
    else at++
  }
  if (at > codeStart) pieces.push({ kind: 'code', start: codeStart, end: at })
  return pieces
}

/** The text with spaces where comments were; lines and columns stay. */
export function withoutComments(text: string): string {
  return lex(text)
    .map(({ kind, start, end }) => {
      const piece = text.slice(start, end)
      return kind === 'comment' ? piece.replace(/[^\n]/g, ' ') : piece
    })
    .join('')
}

/** The line of a place in a text, counted from 1. */
export function lineOf(text: string, index: number): number {
  let line = 1
  for (let at = text.indexOf('\n'); at >= 0 && at < index; at = text.indexOf('\n', at + 1)) line++
  return line
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}

function after(text: string, mark: string, from: number): number {
  const found = text.indexOf(mark, from)
  return found < 0 ? text.length : found + mark.length
}

function quotedEnd(text: string, start: number): number {
  const quote = text[start]
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === quote) return at + 1
    else if (text[at] === '\n') return at
  }
  return text.length
}

/** A template is one string, with all that stands in its substitutions. */
function templateEnd(text: string, start: number): number {
  let at = start + 1
  while (at < text.length) {
    if (text[at] === '\\') at += 2
    else if (text[at] === '`') return at + 1
    else if (text[at] === '$' && text[at + 1] === '{') at = substitutionEnd(text, at + 2)
    else at++
  }
  return text.length
}

function substitutionEnd(text: string, start: number): number {
  let depth = 1
  let at = start
  while (at < text.length) {
    const character = text[at]!
    if (character === "'" || character === '"') at = quotedEnd(text, at)
    else if (character === '`') at = templateEnd(text, at)
    else {
      if (character === '{') depth++
      if (character === '}') depth--
      at++
      if (depth === 0) return at
    }
  }
  return text.length
}

function beginsExpression(code: string, pieces: readonly Piece[]): boolean {
  const before = code.trimEnd()
  if (before === '') return pieces.at(-1)?.kind !== 'string'
  const word = /[\w$]+$/.exec(before)?.[0]
  if (word !== undefined) return BEFORE_EXPRESSION.has(word)
  return !/[)\]}]$/.test(before)
}

function expressionEnd(text: string, start: number): number {
  let inClass = false
  for (let at = start + 1; at < text.length; at++) {
    const character = text[at]
    if (character === '\\') at++
    else if (character === '\n') return at
    else if (character === '[') inClass = true
    else if (character === ']') inClass = false
    else if (character === '/' && !inClass) return at + 1
  }
  return text.length
}
