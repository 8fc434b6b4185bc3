// The whole project's tags, and the report made from them. For ../conformance.ts.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { report } from './report.ts'
import { parseRequirements } from './requirement.ts'
import { type Found, isTest, scan, type Tables } from './source.ts'

/** The table of requirements that there is; its file and the report lie in the same folder. */
const TABLE = { rfc: 9293, file: 'rfc9293-requirements.tsv' } as const
const DOCS = 'docs'
export const REPORT = `${DOCS}/CONFORMANCE.md`

/** The folder with package.json, above the compiled script. */
export function projectFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!readdirSync(folder).includes('package.json')) folder = dirname(folder)
  return folder
}

/** What the project's sources and tests say; and the report, made from it. */
export function collect(project: string): Found & { readonly text: string } {
  const requirements = parseRequirements(readFileSync(join(project, DOCS, TABLE.file), 'utf8'))
  const tables: Tables = new Map([[TABLE.rfc, requirements]])
  const files = [...sources(project, 'src'), ...sources(project, 'test').filter(isTest)].sort()
  const found = files.map((file) => scan(file, readFileSync(join(project, file), 'utf8'), tables))
  const mentions = found.flatMap((one) => one.mentions)
  return {
    mentions,
    mistakes: found.flatMap((one) => one.mistakes),
    text: report({ ...TABLE, requirements }, mentions, '../'),
  }
}

function sources(project: string, folder: string): string[] {
  return readdirSync(join(project, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return sources(project, path)
    return path.endsWith('.ts') ? [path] : []
  })
}
