// Writes docs/CONFORMANCE.md: for each requirement of the RFCs the code that meets it and the tests that prove it, from
// tags in comments and titles (see conformance/tag.ts for their form).
//
//     npm run conformance               writes it
//     npm run conformance -- --check    exits with 1 when it is not what would be written, or something demanded is not proven
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { collect, projectFolder, REPORT } from './conformance/project.ts'

function main(check: boolean): number {
  const project = projectFolder()
  const { mistakes, mentions, text, unproven } = collect(project)
  for (const { file, line, message } of mistakes) console.error(`${file}:${line}: ${message}`)
  if (mistakes.length > 0) return 1
  const path = join(project, REPORT)
  if (check) {
    for (const sentence of unproven) console.error(sentence)
    if (unproven.length > 0) return 1
    if (current(path) === text) return 0
    console.error(`${REPORT} is not what the tags say: run "npm run conformance" and commit it`)
    return 1
  }
  writeFileSync(path, text)
  console.log(`${REPORT}: ${mentions.length} references in ${new Set(mentions.map(({ file }) => file)).size} files`)
  return 0
}

function current(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Whether to check only; undefined for anything but the one option that there is. */
function isCheck(argv: readonly string[]): boolean | undefined {
  if (argv.length === 0) return false
  return argv.length === 1 && argv[0] === '--check' ? true : undefined
}

const check = isCheck(process.argv.slice(2))
if (check === undefined) console.error('the only option is --check')
process.exitCode = check === undefined ? 2 : main(check)
