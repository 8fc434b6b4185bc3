// Runs packetdrill scripts on the stack, in virtual time:
//
//     npm run packetdrill -- [FOLDER or FILE] [--verbose] [--loose]
//
// Without a folder: the stack's own, test/packetdrill/scripts. Says of each script whether it passes, is skipped, since it needs what
// there is not here, or fails, and why; exits with 1 where one has failed. No command within a script is run, and no code of it: settings
// and assertions are read (packetdrill/setting.ts, packetdrill/assertion.ts). Nothing leaves the process.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { listScripts, UsageError } from './packetdrill/folder.ts'
import { describe, type ScriptResult, summarize } from './packetdrill/report.ts'
import { runScript } from './packetdrill/run.ts'

const USAGE = `usage: npm run packetdrill -- [FOLDER or FILE] [options]

Runs packetdrill scripts (*.pkt) on Damselfly in virtual time; without a folder its own.

  --verbose    print what was sent and received in each script
  --loose      for scripts that were written for Linux: the window scale that the host announces need not be
               the script's (it says how large a buffer the host can have), nor PSH of segments with data
`

interface Options {
  readonly path: string
  readonly verbose: boolean
  readonly isLoose: boolean
}

/** The module is compiled to a folder below the repository's. */
const OWN = fileURLToPath(new URL('../../test/packetdrill/scripts', import.meta.url))

function parseOptions(argv: readonly string[]): Options | 'help' {
  const options = {
    verbose: { type: 'boolean', short: 'v' },
    loose: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  } as const
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true })
    if (values.help === true) return 'help'
    if (positionals.length > 1) {
      throw new UsageError(`one folder at a time, not also ${positionals.slice(1).join(' ')}`)
    }
    const [path = OWN] = positionals
    return { path, verbose: values.verbose ?? false, isLoose: values.loose ?? false }
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message)
    throw error
  }
}

function main(argv: readonly string[]): number {
  const options = parseOptions(argv)
  if (options === 'help') {
    console.log(USAGE)
    return 0
  }
  const results: ScriptResult[] = []
  for (const { path, name } of listScripts(options.path)) {
    const result = { ...runScript(readFileSync(path, 'utf8'), options), name }
    results.push(result)
    console.log(describe(result))
    if (options.verbose) for (const line of result.log) console.log(`     ${line}`)
  }
  console.log(summarize(results))
  return results.some(({ kind }) => kind === 'fail') ? 1 : 0
}

try {
  process.exitCode = main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message}\n\n"npm run packetdrill -- --help" tells more`)
  process.exitCode = 2
}
