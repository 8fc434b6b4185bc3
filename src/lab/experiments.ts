// The experiments of the laboratory, in the order of the report.
import type { Experiment } from './experiment.ts'
import { batch } from './experiments/batch.ts'
import { boundaries } from './experiments/boundaries.ts'
import { coalescing } from './experiments/coalescing.ts'
import { disciplines } from './experiments/disciplines.ts'
import { hardParts } from './experiments/hard-parts.ts'
import { messages } from './experiments/messages.ts'
import { scaling } from './experiments/scaling.ts'
import { steering } from './experiments/steering.ts'
import { tun } from './experiments/tun.ts'
import { workloads } from './experiments/workloads.ts'

export const EXPERIMENTS: readonly Experiment[] = [
  disciplines,
  batch,
  workloads,
  steering,
  coalescing,
  boundaries,
  messages,
  hardParts,
  tun,
  scaling,
]
