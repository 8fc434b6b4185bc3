// The thread that fuzzes one target, in the tree of instrumented code. Tells what it found, or undefined, and how far it came.
import { parentPort, workerData } from 'node:worker_threads'
import { Random } from '../../src/base/random.ts'
import { Board } from './board.ts'
import { Coverage } from './coverage.ts'
import { EDGES } from './instrument.ts'
import { type Finding, Loop, type Progress } from './loop.ts'

export interface WorkerData {
  readonly target: string
  readonly seed: number
  readonly board: SharedArrayBuffer
  /** How many edges there are. */
  readonly edges: number
}

export type WorkerMessage = { readonly progress: Progress } | { readonly finding: Finding | undefined }

const PROGRESS_MS = 5000

const { target: name, seed, board: buffer, edges: count } = workerData as WorkerData
const edges = new Uint8Array((count + 3) & ~3)
// Before any code that counts is loaded.
Object.assign(globalThis, { [EDGES]: edges })
const { allTargets } = await import('./targets.ts')
const target = allTargets().find((each) => each.name === name)
if (target === undefined) throw new Error(`there is no target "${name}"`)
const board = new Board(buffer)
let toldAt = performance.now()
const tell = (message: WorkerMessage) => parentPort!.postMessage(message)
const onProgress = (progress: Progress) => {
  const now = performance.now()
  if (now - toldAt >= PROGRESS_MS || board.isStopped) {
    toldAt = now
    tell({ progress })
  }
  return board.isStopped
}
const loop = new Loop(target, new Random(seed), new Coverage(edges), {
  onInput: (input) => board.begin(input),
  onProgress,
})
tell({ finding: await loop.run() })
