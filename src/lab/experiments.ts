// The experiments of the laboratory, in the order of the report.
import type { Experiment } from './experiment.ts'
import { messages } from './experiments/messages.ts'

export const EXPERIMENTS: readonly Experiment[] = [messages]
