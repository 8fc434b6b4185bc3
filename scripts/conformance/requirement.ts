// Tables of requirements, in docs/requirements: that of RFC 9293, whose appendix B gives each an id, and ours of RFCs that give
// none. For ../conformance.ts.
//
//     id level section group feature       RFC 9293's: an id such as `MUST-12`, and the section that says it
//     id level group feature as            ours: the id is a section; where one says several things, with a word of ours
//                                          behind it: `3.2.1.3/bad-source`. `as` lists ids of RFC 9293 that say the same, or nothing
//
// RFCs without numbers for their sections have a word in place of one: `echo/same-data`.

export interface Requirement {
  /** An id can stand in several rows, with different features. */
  readonly id: string
  /** `MUST`, `MUST NOT`, `SHOULD`, `SHOULD NOT` or `MAY`; where an RFC is older than these words, what it means by its own. */
  readonly level: string
  /** Of the RFC; `?` where its text has no mark of the id. */
  readonly section: string
  readonly group: string
  readonly feature: string
  /** Ids of RFC 9293: it is met as they are, and has no tags of its own. */
  readonly as: readonly string[]
}

/** What an id of RFC 9293 looks like: how a tag tells it from a section. */
export const ID = /[A-Z]{2,}-\d+/
const NUMBER = /(?:\d+(?:\.\d+)*|[A-Z](?:\.\d+)+)/
/** What a requirement of a section looks like. */
export const PLACE = new RegExp(`(?:${NUMBER.source}|[a-z]+(?:-[a-z]+)*)/[a-z\\d]+(?:-[a-z\\d]+)*`)
export const SECTION = NUMBER

const BY_ID = ['id', 'level', 'section', 'group', 'feature'] as const
const BY_SECTION = ['id', 'level', 'group', 'feature', 'as'] as const
const LEVELS = new Set(['MUST', 'MUST NOT', 'SHOULD', 'SHOULD NOT', 'MAY'])

/**
 * The rows of a table, in its order.
 *
 * @throws Error for a table without the columns of one kind or the other, or a row that does not fit them.
 */
export function parseRequirements(text: string): Requirement[] {
  const [head, ...lines] = text.replace(/\n+$/, '').split('\n')
  if (head === BY_ID.join('\t')) return lines.map((line, index) => rowById(line, index + 2))
  if (head === BY_SECTION.join('\t')) return lines.map((line, index) => rowBySection(line, index + 2))
  throw new Error(
    `the table's first line is "${head}": it has to be the columns ${BY_ID.join(', ')}, or ${BY_SECTION.join(', ')}, with tabs between`,
  )
}

function rowById(line: string, number: number): Requirement {
  const [id, level, section, group, feature, ...more] = line.split('\t')
  if (!id || !level || !section || !group || !feature || more.length > 0) {
    throw new Error(`line ${number} of the table has not five filled columns: ${line}`)
  }
  check(number, id, ID, level)
  return { id, level, section, group, feature, as: [] }
}

function rowBySection(line: string, number: number): Requirement {
  const [id, level, group, feature, as, ...more] = line.split('\t')
  if (!id || !level || !group || !feature || as === undefined || more.length > 0) {
    throw new Error(`line ${number} of the table has not four filled columns and a fifth: ${line}`)
  }
  check(number, id, new RegExp(`${PLACE.source}|${SECTION.source}`), level)
  const same = as.split(' ').filter((each) => each !== '')
  const wrong = same.find((each) => !new RegExp(`^${ID.source}$`).test(each))
  if (wrong !== undefined) throw new Error(`line ${number} of the table: "${wrong}" is no id of RFC 9293`)
  return { id, level, section: id.split('/')[0]!, group, feature, as: same }
}

function check(number: number, id: string, form: RegExp, level: string): void {
  if (!new RegExp(`^(?:${form.source})$`).test(id)) throw new Error(`line ${number} of the table: "${id}" is no id`)
  if (!LEVELS.has(level)) throw new Error(`line ${number} of the table: "${level}" is no level`)
}
