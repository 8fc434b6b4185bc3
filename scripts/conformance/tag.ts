// Tags: what a comment or the title of a test says about an RFC. For source.ts.
//
//     @rfc 9293 MUST-12 SHLD-3          requirements that are met here, or proven by this test
//     @rfc 7323 2.3                     a section; further ones after it need a dot: @rfc 7323 2.3 5.2
//     @rfc 1122 3.2.1.3/bad-source      one of the requirements of a section, as our table of the RFC calls it
//     @rfc-not 9293 MUST-46 no IP broadcast reaches TCP here     not applicable, and why
//     @rfc-not 9293 MAY-3 not done: the option is always sent    could be done, is not, and why
//
// A reason ends with its comment, at an empty line, or at the next tag.
import { ID, SECTION as NUMBER, PLACE } from './requirement.ts'

export interface Tag {
  readonly rfc: number
  /** Ids of requirements, or sections. */
  readonly references: readonly string[]
  /** For `@rfc-not`: why not. */
  readonly reason?: string
  /** Where the tag starts in the text. */
  readonly index: number
}

/** Something that looks like a tag and is none. */
export interface Problem {
  readonly message: string
  readonly index: number
}

const SECTION = new RegExp(`(?:${PLACE.source}|${NUMBER.source})`)
/** Not a bare number: "2.3 4 times" names one section. */
const FURTHER_SECTION = new RegExp(`(?:${PLACE.source}|\\d+(?:\\.\\d+)+|[A-Z](?:\\.\\d+)+)`)
const IDS = new RegExp(`${ID.source}(?:[\\s,]+${ID.source})*(?![\\w-])`)
const SECTIONS = new RegExp(`${SECTION.source}(?:[\\s,]+${FURTHER_SECTION.source})*(?![\\w/-]|\\.\\d)`)
const START = /@rfc\b/g
const TAG = new RegExp(`@rfc(?<not>-not)?\\s+(?<rfc>\\d+)\\s+(?<references>${IDS.source}|${SECTIONS.source})`, 'y')
const FORM = 'write "@rfc 9293 MUST-12", "@rfc 7323 2.3" or "@rfc-not 9293 MUST-12 reason"'

/** The tags of a text, without the marks of its comment. */
export function parseTags(text: string): { tags: Tag[]; problems: Problem[] } {
  const tags: Tag[] = []
  const problems: Problem[] = []
  const starts = [...text.matchAll(START)].map((match) => match.index)
  for (const [number, index] of starts.entries()) {
    TAG.lastIndex = index
    const { not, rfc, references } = TAG.exec(text)?.groups ?? {}
    if (rfc === undefined || references === undefined) {
      problems.push({ index, message: `"${firstWords(text.slice(index))}" is no tag: ${FORM}` })
      continue
    }
    const tag = { rfc: Number(rfc), references: references.split(/[\s,]+/), index }
    if (not === undefined) {
      tags.push(tag)
      continue
    }
    const reason = reasonIn(text.slice(TAG.lastIndex, starts[number + 1]))
    if (reason === '') problems.push({ index, message: `@rfc-not ${rfc} ${references} has no reason: say why not` })
    else tags.push({ ...tag, reason })
  }
  return { tags, problems }
}

/** A title without its tags, and without the parentheses around them. */
export function withoutTags(title: string): string {
  const tag = new RegExp(TAG.source)
  return title
    .replace(new RegExp(`\\s*\\((?:${tag.source.replace(/\?<\w+>/g, '?:')}[\\s,;]*)+\\)`, 'g'), '')
    .replace(new RegExp(`\\s*${tag.source}`, 'g'), '')
    .replace(/\s+/g, ' ')
    .trim()
}

function reasonIn(text: string): string {
  const paragraph = text.split(/\n\s*\n/)[0]!
  return paragraph
    .replace(/\s+/g, ' ')
    .replace(/^[\s:,;.–—-]+/, '')
    .trim()
}

function firstWords(text: string): string {
  return text.split('\n')[0]!.split(/\s+/).slice(0, 4).join(' ')
}
