// Coverage-guided fuzzing of everything that parses what others have written:
//
//     npm run fuzz -- tcp --minutes 30          see --help for the options
//
// The compiled code is copied with a counter on each edge (fuzz/instrument.ts), and a thread runs inputs against it, kept and changed by the
// edges that they reach (fuzz/loop.ts). This thread watches: an input that does not end is a finding as well. What fails is made small and
// saved, with a command that shows it again.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { Board } from './fuzz/board.ts'
import { instrumentTree, type Tree } from './fuzz/instrument.ts'
import { type Finding, type Progress, runAll, textOf } from './fuzz/loop.ts'
import { type Options, parseOptions, UsageError, usage } from './fuzz/options.ts'
import { allTargets } from './fuzz/targets.ts'
import type { WorkerData, WorkerMessage } from './fuzz/worker.ts'

/** An input that takes longer never ends. */
const INPUT_MS = 60_000
const WATCH_MS = 1000
/** The exit code after Ctrl-C, as shells have it. */
const INTERRUPTED = 130

const dist = fileURLToPath(new URL('../', import.meta.url))
const names = allTargets().map(({ name }) => name)

try {
  const options = parseOptions(process.argv.slice(2), names)
  if (options.help) console.log(usage(names))
  else if (options.replay.length > 0) await replay(options)
  else await fuzz(options)
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`fuzz: ${error.message}`)
  process.exitCode = 2
}

async function fuzz(options: Options): Promise<void> {
  const interrupt = new AbortController()
  process.once('SIGINT', () => interrupt.abort())
  process.once('SIGTERM', () => interrupt.abort())
  const tree = instrumentTree(dist)
  try {
    console.log(`${tree.edges} edges; seed ${options.seed}`)
    for (const name of options.targets) {
      const finding = await run(name, tree, options, interrupt.signal)
      if (finding !== undefined) {
        report(name, finding, options)
        process.exitCode = 1
      }
      if (interrupt.signal.aborted) process.exitCode = INTERRUPTED
      if (interrupt.signal.aborted) break
    }
  } finally {
    rmSync(tree.folder, { recursive: true, force: true })
  }
}

/** Fuzzes one target until its time is over, or something is found. */
async function run(
  name: string,
  tree: Tree,
  { seed, minutes }: Options,
  interrupt: AbortSignal,
): Promise<Finding | undefined> {
  const board = new Board()
  const workerData: WorkerData = { target: name, seed, board: board.buffer, edges: tree.edges }
  const worker = new Worker(pathToFileURL(join(tree.folder, 'scripts/fuzz/worker.js')), { workerData })
  const began = performance.now()
  let last = { inputs: -1, at: began }
  let watch: NodeJS.Timeout | undefined
  try {
    return await new Promise<Finding | undefined>((resolve) => {
      const failed = (error: string) => resolve({ error, inputs: [board.input], isRepeatable: true })
      watch = setInterval(() => {
        const now = performance.now()
        if (board.inputs !== last.inputs) last = { inputs: board.inputs, at: now }
        else if (now - last.at > INPUT_MS) failed(`the input does not end within ${INPUT_MS / 1000} s`)
        if (now - began > minutes * 60_000 || interrupt.aborted) board.stop()
      }, WATCH_MS)
      worker.on('error', (error) => failed(textOf(error)))
      worker.on('exit', () => failed('the thread has ended'))
      worker.on('message', (message: WorkerMessage) => {
        if ('finding' in message) resolve(message.finding)
        else console.log(progressText(name, message.progress, performance.now() - began))
      })
    })
  } finally {
    clearInterval(watch)
    worker.removeAllListeners('exit')
    await worker.terminate()
  }
}

function progressText(name: string, { inputs, corpus, edges, classes }: Progress, ms: number): string {
  const rate = Math.round((inputs / ms) * 1000)
  const time = Math.round(ms / 1000)
  return `${name}: ${time} s, ${inputs} inputs (${rate}/s), ${corpus} kept, ${edges} edges in ${classes} classes`
}

function report(name: string, { error, inputs, isRepeatable }: Finding, { out }: Options): void {
  const folder = join(out, name)
  mkdirSync(folder, { recursive: true })
  const id = createHash('sha256').update(Buffer.concat(inputs)).digest('hex').slice(0, 12)
  const files = inputs.map((input, i) => {
    const path = join(folder, `${id}-${i}.bin`)
    writeFileSync(path, input)
    return path
  })
  writeFileSync(join(folder, `${id}.txt`), `${error}\n`)
  console.log(`\n${name}: ${error}\n`)
  console.log(isRepeatable ? 'To see it again:' : 'It came once, and not when it was tried again. What was run:')
  console.log(`npm run fuzz -- ${name} ${files.map((file) => `--replay ${file}`).join(' ')}`)
}

/** Runs saved inputs against the code as it is. */
async function replay({ targets, replay }: Options): Promise<void> {
  const target = allTargets().find(({ name }) => name === targets[0])!
  const inputs = replay.map((path) => {
    try {
      return Uint8Array.from(readFileSync(path))
    } catch (error) {
      throw new UsageError(`--replay ${basename(path)}: ${(error as Error).message}`)
    }
  })
  const error = await runAll(target, inputs)
  console.log(error === undefined ? `${target.name}: nothing is wrong` : textOf(error))
  if (error !== undefined) process.exitCode = 1
}
