// docs/CONFORMANCE.md: what is met, what is tested, and what is not. For ../conformance.ts.
import type { Mention } from './source.ts'
import { judge, mentionsOf, STATUSES, type Status, statusOf, type Table } from './status.ts'

const LEVELS = [['MUST', 'MUST NOT'], ['SHOULD', 'SHOULD NOT'], ['MAY']] as const

/**
 * The whole file.
 *
 * @param mentions those of all files, in the order in which links shall stand
 * @param up the way from the report's folder to the project's, such as `../`
 */
export function report(tables: readonly Table[], mentions: readonly Mention[], up: string): string {
  const listed = new Set(tables.flatMap(({ rfc, requirements }) => requirements.map(({ id }) => `${rfc} ${id}`)))
  return `${[
    '# Conformance',
    '',
    'Written by `npm run conformance` from tags in the sources (`@rfc 9293 MUST-12` in a comment beside the code, or in the title of a',
    'test) and from tables of what the RFCs ask for: do not edit. A tag says where to look, not that all is well there.',
    '',
    ...summary(tables, mentions),
    ...tables.flatMap((table) => groups(table, mentions, up)),
    ...others(
      mentions.filter(({ rfc, reference }) => !listed.has(`${rfc} ${reference}`)),
      up,
    ),
  ]
    .join('\n')
    .trimEnd()}\n`
}

function summary(tables: readonly Table[], mentions: readonly Mention[]): string[] {
  const lines = tables.flatMap(({ rfc, requirements }) => {
    const judged = requirements.map((requirement) => ({
      level: requirement.level,
      status: judge(rfc, requirement, mentions).status,
    }))
    const count = (levels: readonly string[], status?: Status) =>
      judged.filter((one) => levels.includes(one.level) && (status === undefined || one.status === status)).length
    return LEVELS.filter((levels) => count(levels) > 0).map((levels) =>
      row([
        String(rfc),
        levels.join(', '),
        ...STATUSES.map((status) => String(count(levels, status))),
        String(count(levels)),
      ]),
    )
  })
  return [
    '## In numbers',
    '',
    row(['RFC', 'level', ...STATUSES, 'in all']),
    row(['--:', '---', ...STATUSES.map(() => '--:'), '--:']),
    ...lines,
    '',
  ]
}

function groups(table: Table, mentions: readonly Mention[], up: string): string[] {
  const { rfc, title, file, requirements } = table
  // The ids of a table by sections say the section themselves.
  const hasSections = requirements.some(({ id, section }) => !id.startsWith(section))
  const columns = ['id', 'level', ...(hasSections ? ['section'] : []), 'feature', 'status', 'code', 'tests']
  const lines = [`## RFC ${rfc}: ${title}`, '', `From [the table of its requirements](${file}).`, '']
  for (const group of new Set(requirements.map((requirement) => requirement.group))) {
    lines.push(`### ${literally(group)}`, '', row(columns), row(columns.map(() => '---')))
    for (const requirement of requirements) {
      if (requirement.group !== group) continue
      const { id, level, section, feature, as } = requirement
      const { status, reason } = judge(rfc, requirement, mentions)
      const said = reason === '' ? status : `${status}: ${literally(reason)}`
      const found = mentionsOf(rfc, id, mentions)
      const proof = as.length > 0 ? [`RFC 9293 ${as.join(', ')}`, ''] : [code(found, up), tests(found, up)]
      lines.push(row([id, level, ...(hasSections ? [section] : []), literally(feature), said, ...proof]))
    }
    lines.push('')
  }
  return lines
}

/** What is said about sections beside the tables, by RFC. */
function others(mentions: readonly Mention[], up: string): string[] {
  if (mentions.length === 0) return []
  const lines = ['## By section', '']
  for (const rfc of [...new Set(mentions.map((mention) => mention.rfc))].sort((a, b) => a - b)) {
    lines.push(`### RFC ${rfc}`, '', row(['section', 'status', 'code', 'tests']), row(Array<string>(4).fill('---')))
    const own = mentions.filter((mention) => mention.rfc === rfc)
    for (const section of [...new Set(own.map(({ reference }) => reference))].sort(bySection)) {
      const found = mentionsOf(rfc, section, own)
      const { status, reason } = statusOf(found)
      lines.push(
        row([section, reason === '' ? status : `${status}: ${literally(reason)}`, code(found, up), tests(found, up)]),
      )
    }
    lines.push('')
  }
  return lines
}

function code(mentions: readonly Mention[], up: string): string {
  return links(
    mentions.filter(({ kind }) => kind !== 'test'),
    up,
    (name) => `\`${name}\``,
  )
}

function tests(mentions: readonly Mention[], up: string): string {
  return links(
    mentions.filter(({ kind }) => kind === 'test'),
    up,
    (name) => `“${literally(name)}”`,
  )
}

/** Each file once, with the names in it. A line's number would change with every edit, a name seldom does. */
function links(mentions: readonly Mention[], up: string, spell: (name: string) => string): string {
  return [...new Set(mentions.map(({ file }) => file))]
    .map((file) => {
      const names = mentions.flatMap((mention) => (mention.file === file && mention.name ? [spell(mention.name)] : []))
      return [`[${file.replace(/^src\//, '')}](${up}${encodeURI(file)})`, [...new Set(names)].join(', ')]
        .join(' ')
        .trim()
    })
    .join('<br>')
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

/** Text of others: what Markdown would read in it, stands as it is. */
function literally(text: string): string {
  return text.replace(/[\\|<>`*_[\]]/g, '\\$&')
}

/** As the RFC counts: 3.10 after 3.9, and appendices behind the sections. */
function bySection(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
