// The whole project's tags, and the report made from them. For ../conformance.ts.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { report } from './report.ts'
import { parseRequirements } from './requirement.ts'
import { type Found, isTest, scan } from './source.ts'
import { type Table, unproven } from './status.ts'

/** The tables that there are, in the order of the report. Their folder lies in that of the report. */
const TITLES = [
  [9293, 'Transmission Control Protocol'],
  [768, 'User Datagram Protocol'],
  [791, 'Internet Protocol'],
  [792, 'Internet Control Message Protocol'],
  [826, 'Address Resolution Protocol'],
  [1122, 'Requirements for Internet hosts'],
  [5681, 'TCP congestion control'],
  [5961, 'Blind in-window attacks'],
  [6298, 'Retransmission timer'],
  [6675, 'Loss recovery based on SACK'],
  [7323, 'TCP extensions for high performance'],
  [8985, 'RACK-TLP'],
  [9438, 'CUBIC'],
] as const
const DOCS = 'docs'
const FOLDER = 'requirements'
export const REPORT = `${DOCS}/CONFORMANCE.md`

/** The folder with package.json, above the compiled script. */
export function projectFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!readdirSync(folder).includes('package.json')) folder = dirname(folder)
  return folder
}

/** What the project's sources and tests say; the report, made from it; and what they do not say and should. */
export function collect(project: string): Found & {
  readonly tables: readonly Table[]
  readonly text: string
  readonly unproven: readonly string[]
} {
  const tables = TITLES.map(([rfc, title]): Table => {
    const file = `${FOLDER}/rfc${rfc}.tsv`
    return { rfc, title, file, requirements: parseRequirements(readFileSync(join(project, DOCS, file), 'utf8')) }
  })
  const byRfc = new Map(tables.map(({ rfc, requirements }) => [rfc as number, requirements]))
  const files = [...sources(project, 'src'), ...sources(project, 'test').filter(isTest)].sort()
  const found = files.map((file) => scan(file, readFileSync(join(project, file), 'utf8'), byRfc))
  const mentions = found.flatMap((one) => one.mentions)
  return {
    tables,
    mentions,
    mistakes: found.flatMap((one) => one.mistakes),
    text: report(tables, mentions, '../'),
    unproven: unproven(tables, mentions),
  }
}

function sources(project: string, folder: string): string[] {
  return readdirSync(join(project, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return sources(project, path)
    return path.endsWith('.ts') ? [path] : []
  })
}
