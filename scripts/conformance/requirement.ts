// A table of requirements: those of RFC 9293, appendix B, in docs/rfc9293-requirements.tsv. For ../conformance.ts.

export interface Requirement {
  /** As the RFC spells it, such as `MUST-12`. An id can stand in several rows, with different features. */
  readonly id: string
  /** `MUST`, `MUST NOT`, `SHOULD`, `SHOULD NOT` or `MAY`. */
  readonly level: string
  /** Of the RFC; `?` where its text has no mark of the id. */
  readonly section: string
  readonly group: string
  readonly feature: string
}

const COLUMNS = ['id', 'level', 'section', 'group', 'feature'] as const
const LEVELS = new Set(['MUST', 'MUST NOT', 'SHOULD', 'SHOULD NOT', 'MAY'])

/** What an id looks like: how a tag tells it from a section. */
export const ID = /[A-Z]{2,}-\d+/

/**
 * The rows of a table, in its order.
 *
 * @throws Error for a table without the five columns, or a row that does not fit them.
 */
export function parseRequirements(text: string): Requirement[] {
  const [head, ...lines] = text.trimEnd().split('\n')
  if (head !== COLUMNS.join('\t')) {
    throw new Error(
      `the table's first line is "${head}": it has to be the columns ${COLUMNS.join(', ')}, with tabs between`,
    )
  }
  return lines.map((line, index) => {
    const [id, level, section, group, feature, ...more] = line.split('\t')
    if (!id || !level || !section || !group || !feature || more.length > 0) {
      throw new Error(`line ${index + 2} of the table has not five filled columns: ${line}`)
    }
    if (!new RegExp(`^${ID.source}$`).test(id)) throw new Error(`line ${index + 2} of the table: "${id}" is no id`)
    if (!LEVELS.has(level)) throw new Error(`line ${index + 2} of the table: "${level}" is no level`)
    return { id, level, section, group, feature }
  })
}
