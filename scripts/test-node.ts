// Runs Node's own tests of net, http, https, http2 and dgram on this stack, from a checkout of Node's sources:
//
//     npm run test:node -- DIR          see --help for the options
//
// Each file runs as Node's own runner runs it (its `// Flags:`, the folder above `test` as the working folder, the same
// variables), in a process of its own. NODE_OPTIONS carries the preload, so that the processes that a test starts have
// the stack too: a child on the kernel would pass and prove nothing. What a test writes goes to a temporary folder.
//
// Some tests send beyond this computer (multicast, addresses for examples): run them in a network namespace that has only
// a loopback device. Turn IPv6 off there (net.ipv6.conf.all.disable_ipv6=1) while the stack has none: Node's tests look at
// the computer's interfaces, and leave out their IPv6 parts.
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { runChild } from './testnode/child.ts'
import { type Expectation, parseExpectations } from './testnode/expectation.ts'
import { type Options, parseOptions, USAGE, UsageError } from './testnode/options.ts'
import { type Outcome, outcomeOf } from './testnode/outcome.ts'
import { runAll } from './testnode/pool.ts'
import { describe, type Result, summarize, verdictOf } from './testnode/report.ts'
import { RULES, ruleFor } from './testnode/rule.ts'
import { findTree, flagsOf, listFiles, type TestFile, type Tree } from './testnode/tree.ts'

/** A line of progress where no terminal shows a running one. */
const FILES_PER_LINE = 50

/** The exit code after Ctrl-C, as shells have it. */
const INTERRUPTED = 130

/** What a run needs besides its options. */
interface Run {
  readonly options: Options
  readonly tree: Tree
  readonly expectations: ReadonlyMap<string, Expectation>
  /** Where tests write: theirs is a folder of its own in it. */
  readonly scratch: string
  readonly interrupt: AbortSignal
}

/** A file, and why it is not run. */
function leftOut({ options, expectations }: Run, file: TestFile): Result | undefined {
  const { module, name } = file
  const skip = { module, file: name, kind: 'skip', ms: 0 } as const
  if (expectations.get(name.replace(/\.m?js$/, '')) === 'skip') return { ...skip, reason: 'Node itself skips it here' }
  const rule = options.all ? undefined : ruleFor(file, options.inProcess)
  return rule === undefined ? undefined : { ...skip, reason: rule.reason, rule: rule.name }
}

async function runFile(run: Run, file: TestFile, worker: number): Promise<Result> {
  const { options, expectations } = run
  const { module, name } = file
  const started = performance.now()
  const { kind, reason } = await runOnce(run, file, worker, options.preload)
  const ms = Math.round(performance.now() - started)
  const baseline = options.baseline && kind !== 'interrupted' ? await runOnce(run, file, worker, undefined) : undefined
  const flaky = expectations.get(name.replace(/\.m?js$/, '')) === 'flaky'
  return { module, file: name, kind, reason, ms, ...(flaky ? { flaky } : {}), ...(baseline ? { baseline } : {}) }
}

/** @param preload undefined for plain Node, which also gets none of the stack's variables */
async function runOnce(run: Run, file: TestFile, worker: number, preload: string | undefined): Promise<Outcome> {
  const { options, tree, scratch, interrupt } = run
  const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: _1, NODE_V8_COVERAGE: _2, ...environment } = process.env
  const ended = await runChild(
    {
      args: [...flagsOf(file.source), file.path],
      folder: tree.root,
      environment: {
        ...environment,
        NODE_TEST_DIR: scratch,
        TEST_PARALLEL: '1',
        TEST_THREAD_ID: String(worker),
        // Names the test's own folder: what runs at the same time must not share it.
        TEST_SERIAL_ID: String(worker),
        ...(preload === undefined
          ? {}
          : { ...options.environment, NODE_OPTIONS: `--import ${pathToFileURL(preload).href}` }),
      },
      timeoutMs: options.timeoutMs,
    },
    interrupt,
  )
  return outcomeOf(ended)
}

/** Prints how far it is: one running line on a terminal, a line now and then elsewhere. */
class Progress {
  readonly #total: number
  readonly #verbose: boolean
  readonly #counts = { pass: 0, fail: 0, kernel: 0, skip: 0 }
  #done = 0

  constructor(total: number, verbose: boolean) {
    this.#total = total
    this.#verbose = verbose
  }

  add(result: Result): void {
    const verdict = verdictOf(result)
    this.#counts[verdict]++
    this.#done++
    if (this.#verbose || verdict === 'fail') this.#print(describe(result))
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${this.#line()}`)
    else if (this.#done % FILES_PER_LINE === 0) console.error(this.#line())
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  }

  #print(line: string): void {
    console.error(process.stderr.isTTY ? `\r\x1b[K${line}` : line)
  }

  #line(): string {
    const { pass, fail, kernel, skip } = this.#counts
    const known = kernel === 0 ? '' : `, ${kernel} on the kernel too`
    return `${this.#done} of ${this.#total}: ${pass} pass, ${fail} fail${known}, ${skip} skip`
  }
}

function expectationsOf(tree: Tree): Map<string, Expectation> {
  const path = join(tree.parallel, 'parallel.status')
  if (!existsSync(path)) return new Map()
  return parseExpectations(readFileSync(path, 'utf8'), process.platform, process.arch)
}

function list(run: Run, files: readonly TestFile[]): void {
  for (const file of files) {
    const skipped = leftOut(run, file)
    const why = skipped === undefined ? '' : `  skip: ${skipped.rule ?? skipped.reason}`
    console.log([file.name, ...flagsOf(file.source)].join(' ') + why)
  }
}

async function runFiles(run: Run, files: readonly TestFile[]): Promise<Result[]> {
  const progress = new Progress(files.length, run.options.verbose)
  const results = await runAll(files, run.options.jobs, run.interrupt, async (file, worker) => {
    const result = leftOut(run, file) ?? (await runFile(run, file, worker))
    progress.add(result)
    return result
  })
  progress.end()
  return results
}

/** The module behind `damselfly/register`, also while package.json does not export it yet. */
function register(): string {
  try {
    return fileURLToPath(import.meta.resolve('damselfly/register'))
  } catch {
    return fileURLToPath(new URL('../src/node/register.js', import.meta.url))
  }
}

async function main(argv: readonly string[]): Promise<number> {
  const options = parseOptions(argv, register())
  if (options === 'help') {
    console.log(USAGE)
    return 0
  }
  if (options.preload !== undefined && !options.list && !existsSync(options.preload)) {
    throw new UsageError(`there is no ${resolve(options.preload)} to preload: build it, or give --preload`)
  }
  const tree = findTree(options.folder)
  const files = listFiles(tree, options.modules, options.only)
  if (files.length === 0) throw new UsageError('no file matches --modules and --only')
  const stop = new AbortController()
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'damselfly-test-')))
  const run: Run = { options, tree, expectations: expectationsOf(tree), scratch, interrupt: stop.signal }
  const interrupt = () => stop.abort()
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  try {
    if (options.list) {
      list(run, files)
      return 0
    }
    const results = await runFiles(run, files)
    const interrupted = stop.signal.aborted
    console.log(summarize(results, RULES, options.baseline))
    if (interrupted) console.log(`interrupted: ${results.length} of ${files.length} files were started`)
    if (options.json !== undefined) writeFileSync(options.json, toJson(run, results, interrupted))
    if (interrupted) return INTERRUPTED
    return results.some((result) => verdictOf(result) === 'fail') ? 1 : 0
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
    rmSync(scratch, { recursive: true, force: true })
  }
}

function toJson({ options }: Run, results: readonly Result[], interrupted: boolean): string {
  const { preload, environment, timeoutMs, jobs, baseline } = options
  const files = results.map((result) => ({ ...result, verdict: verdictOf(result) }))
  return `${JSON.stringify({ node: process.version, preload, environment, timeoutMs, jobs, baseline, interrupted, files }, null, 2)}\n`
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message}\n\n"npm run test:node -- --help" lists the options`)
  process.exitCode = 2
}
