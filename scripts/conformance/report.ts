// docs/CONFORMANCE.md: what is met, what is tested, and what is not. For ../conformance.ts.
import type { Requirement } from './requirement.ts'
import type { Mention } from './source.ts'

/** In the order in which the summary lists them. */
export const STATUSES = [
  'met and tested',
  'met, no test',
  'tested, no code tag',
  'met in part',
  'not done',
  'not applicable',
  'missing',
] as const
export type Status = (typeof STATUSES)[number]

/** A table of requirements, and the file that holds it, from the folder of the report. */
export interface Table {
  readonly rfc: number
  readonly file: string
  readonly requirements: readonly Requirement[]
}

/** What the mentions of one requirement say about it. */
export function statusOf(mentions: readonly Mention[]): { status: Status; reason: string } {
  const code = mentions.some(({ kind }) => kind === 'code')
  const test = mentions.some(({ kind }) => kind === 'test')
  const reasons = [...new Set(mentions.flatMap(({ reason }) => (reason === undefined ? [] : [reason])))]
  const reason = reasons.map((text) => text.replace(NOT_DONE, '').replace(NOT_APPLICABLE, '')).join('; ')
  if (reasons.length > 0 && (code || test)) return { status: 'met in part', reason }
  if (reasons.some((text) => NOT_DONE.test(text))) return { status: 'not done', reason }
  if (reasons.length > 0) return { status: 'not applicable', reason }
  if (code) return { status: test ? 'met and tested' : 'met, no test', reason }
  return { status: test ? 'tested, no code tag' : 'missing', reason }
}

const NOT_DONE = /^not done\b[\s:,;]*/i
const NOT_APPLICABLE = /^not applicable\b[\s:,;]*/i

/**
 * The whole file.
 *
 * @param mentions those of all files, in the order in which links shall stand
 * @param up the way from the report's folder to the project's, such as `../`
 */
export function report(table: Table, mentions: readonly Mention[], up: string): string {
  const ids = new Set(table.requirements.map(({ id }) => id))
  const isListed = ({ rfc, reference }: Mention) => rfc === table.rfc && ids.has(reference)
  const listed = mentions.filter(isListed)
  return `${[
    '# Conformance',
    '',
    `Written by \`npm run conformance\` from tags in the sources (\`@rfc ${table.rfc} MUST-12\` in a comment beside the code, or`,
    `in the title of a test) and from [the requirements of RFC ${table.rfc}](${table.file}): do not edit. A tag says where to`,
    'look, not that all is well there.',
    '',
    ...summary(table, listed),
    ...groups(table, listed, up),
    ...others(
      mentions.filter((mention) => !isListed(mention)),
      up,
    ),
  ]
    .join('\n')
    .trimEnd()}\n`
}

function summary({ rfc, requirements }: Table, mentions: readonly Mention[]): string[] {
  const rows = requirements.map(({ id, level }) => ({ level, status: statusOf(of(mentions, id)).status }))
  const count = (levels: readonly string[], status?: Status) =>
    rows.filter((row) => levels.includes(row.level) && (status === undefined || row.status === status)).length
  const line = (name: string, levels: readonly string[]) =>
    row([name, ...STATUSES.map((status) => String(count(levels, status))), String(count(levels))])
  return [
    `## RFC ${rfc}, in numbers`,
    '',
    row(['level', ...STATUSES, 'in all']),
    row(['---', ...STATUSES.map(() => '--:'), '--:']),
    line('MUST, MUST NOT', ['MUST', 'MUST NOT']),
    line('SHOULD, SHOULD NOT', ['SHOULD', 'SHOULD NOT']),
    line('MAY', ['MAY']),
    line('all', [...new Set(rows.map(({ level }) => level))]),
    '',
  ]
}

function groups({ rfc, requirements }: Table, mentions: readonly Mention[], up: string): string[] {
  const lines = [`## RFC ${rfc}, by requirement`, '']
  const names = [...new Set(requirements.map(({ group }) => group))]
  for (const group of names) {
    lines.push(`### ${literally(group)}`, '')
    lines.push(row(['id', 'level', 'section', 'feature', 'status', 'code', 'tests']), row(Array<string>(7).fill('---')))
    for (const { id, level, section, feature, group: own } of requirements) {
      if (own !== group) continue
      const found = of(mentions, id)
      const { status, reason } = statusOf(found)
      const said = reason === '' ? status : `${status}: ${literally(reason)}`
      lines.push(row([id, level, section, literally(feature), said, code(found, up), tests(found, up)]))
    }
    lines.push('')
  }
  return lines
}

/** What is said about sections, by RFC. */
function others(mentions: readonly Mention[], up: string): string[] {
  if (mentions.length === 0) return []
  const lines = ['## By section', '']
  for (const rfc of [...new Set(mentions.map((mention) => mention.rfc))].sort((a, b) => a - b)) {
    lines.push(`### RFC ${rfc}`, '', row(['section', 'status', 'code', 'tests']), row(Array<string>(4).fill('---')))
    const own = mentions.filter((mention) => mention.rfc === rfc)
    for (const section of [...new Set(own.map(({ reference }) => reference))].sort(bySection)) {
      const found = of(own, section)
      const { status, reason } = statusOf(found)
      lines.push(
        row([section, reason === '' ? status : `${status}: ${literally(reason)}`, code(found, up), tests(found, up)]),
      )
    }
    lines.push('')
  }
  return lines
}

function of(mentions: readonly Mention[], reference: string): Mention[] {
  return mentions.filter((mention) => mention.reference === reference)
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
