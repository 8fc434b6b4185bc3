// What the files of a project say about RFCs: the tags in the comments of its sources and in the titles of its tests, each
// with the function or the test that it stands in. For ../conformance.ts.
import { lex, lineOf, type Piece } from '../lexer.ts'
import { declarationAt } from './declaration.ts'
import { ID, type Requirement } from './requirement.ts'
import { parseTags, withoutTags } from './tag.ts'

/** One reference of one tag. */
export interface Mention {
  readonly rfc: number
  /** An id, or a section with or without a word behind it. */
  readonly reference: string
  readonly kind: 'code' | 'test' | 'not'
  /** From the project's folder, with slashes. */
  readonly file: string
  /** The function or declaration, or the test's title; undefined where the tag is the whole file's. */
  readonly name: string | undefined
  /** For `not`. */
  readonly reason?: string
}

/** What somebody has to put right, with its place. */
export interface Mistake {
  readonly file: string
  readonly line: number
  readonly message: string
}

export interface Found {
  readonly mentions: readonly Mention[]
  readonly mistakes: readonly Mistake[]
}

/** Tables of requirements by RFC: a tag of such an RFC may name what it has, and only this. */
export type Tables = ReadonlyMap<number, readonly Requirement[]>

/** Text that stands together: adjacent `//` lines, one block comment, one string. */
interface Passage {
  readonly text: string
  readonly start: number
  readonly end: number
}

export const isTest = (file: string) => file.endsWith('.test.ts')
/** Code that only tests run: what it says about an RFC is neither met by the program nor proven by it. */
const isForTests = (file: string) => file.split('/').includes('testing')

/**
 * The tags of one file.
 *
 * @param file its path from the project's folder, with slashes
 */
export function scan(file: string, text: string, tables: Tables): Found {
  const mentions: Mention[] = []
  const mistakes: Mistake[] = []
  if (!text.includes('@rfc')) return { mentions, mistakes }
  const pieces = lex(text)
  const lines = text.split('\n')
  const mistake = (index: number, message: string) => mistakes.push({ file, line: lineOf(text, index), message })

  const read = (passage: Passage, what: 'code' | 'test', name: string | undefined) => {
    const { tags, problems } = parseTags(passage.text)
    for (const { index, message } of problems) mistake(passage.start + index, message)
    for (const { rfc, references, reason, index } of tags) {
      const at = passage.start + index
      if (reason !== undefined && what === 'test') {
        mistake(at, '@rfc-not in the title of a test: write it in a comment of the source')
        continue
      }
      for (const reference of references) {
        const unknown = unknownReference(rfc, reference, tables)
        if (unknown !== undefined) mistake(at, unknown)
        else if (reason !== undefined) mentions.push({ rfc, reference, kind: 'not', file, name, reason })
        else mentions.push({ rfc, reference, kind: what, file, name })
      }
    }
  }

  for (const comment of comments(text, pieces)) {
    if (!comment.text.includes('@rfc')) continue
    const at = comment.start + comment.text.indexOf('@rfc')
    if (isTest(file)) mistake(at, "a tag in a test's comment: write it in the title of the test that proves it")
    else if (isForTests(file))
      mistake(at, 'a tag in code that only tests run: write it in the source, or in the title of a test')
    else {
      read(comment, 'code', declarationAt(lines, lineOf(text, comment.start) - 1, lineOf(text, comment.end) - 1))
    }
  }
  if (!isTest(file)) return { mentions, mistakes }
  for (const [index, piece] of pieces.entries()) {
    if (piece.kind !== 'string') continue
    const title = text.slice(piece.start + 1, piece.end - 1)
    if (!/@rfc/.test(title)) continue
    const role = roleOf(text, pieces, index)
    if (role === undefined) {
      mistake(
        piece.start + 1 + title.indexOf('@rfc'),
        "a tag in a string that is no test's title: it has to be test's first argument, or a case's title: or name:",
      )
    } else if (role === 'test') {
      const shown = withoutTags(title.replace(/\\(.)/g, '$1'))
      read({ text: title, start: piece.start + 1, end: piece.end }, 'test', shown)
    }
  }
  return { mentions, mistakes }
}

function unknownReference(rfc: number, reference: string, tables: Tables): string | undefined {
  const isSection = !reference.includes('/') && !new RegExp(`^${ID.source}$`).test(reference)
  const table = tables.get(rfc)
  if (table === undefined) {
    if (isSection) return undefined
    return `there is no table of the requirements of RFC ${rfc}: name a section in place of ${reference}`
  }
  if (table.some(({ id }) => id === reference)) return undefined
  // Of a table by sections, a section has to be one that it knows; of RFC 9293's, any may be named beside the ids.
  const isKnown = table.some(({ id, section }) => new RegExp(`^${ID.source}$`).test(id) || section === reference)
  if (isSection && isKnown) return undefined
  return `RFC ${rfc} has no requirement ${reference}: see the table of its requirements`
}

/** The comments, with spaces for their marks, and line comments one below the other as one. */
function comments(text: string, pieces: readonly Piece[]): Passage[] {
  const passages: { text: string; start: number; end: number; column: number | undefined }[] = []
  for (const { kind, start, end } of pieces) {
    if (kind !== 'comment') continue
    const piece = text.slice(start, end)
    const column = piece.startsWith('//') ? start - (text.lastIndexOf('\n', start - 1) + 1) : undefined
    const bare = piece
      .replace(/^(?:\/\*+|\/\/+)/, (mark) => ' '.repeat(mark.length))
      .replace(/\*\/$/, '  ')
      .replace(/^( *)\*/gm, '$1 ')
    const previous = passages.at(-1)
    const between = previous === undefined ? '' : text.slice(previous.end, start)
    // A comment behind code does not go on in the next line, where it could only start further left.
    if (previous !== undefined && column !== undefined && previous.column === column && /^\n *$/.test(between)) {
      previous.text += between + bare
      previous.end = end
    } else passages.push({ text: bare, start, end, column })
  }
  return passages
}

/** Whether a string is the title of a test that runs, or of one that is left out; undefined for any other string. */
function roleOf(text: string, pieces: readonly Piece[], index: number): 'test' | 'skipped' | undefined {
  let before = ''
  for (let at = index - 1; at >= 0 && before.trim() === ''; at--) {
    const { kind, start, end } = pieces[at]!
    if (kind === 'string') return undefined
    if (kind === 'code') before = text.slice(start, end) + before
  }
  // `onHosts`, `onSegments` and `everywhere` are the harness's: one test on several machines.
  const [call] = /\b(?:test|it|suite|describe|onHosts|onSegments|everywhere)(?:\.\w+)*\(\s*$/.exec(before) ?? []
  if (call !== undefined) return /\.(?:skip|todo)\b/.test(call) ? 'skipped' : 'test'
  return /\b(?:title|name):\s*$/.test(before) ? 'test' : undefined
}
