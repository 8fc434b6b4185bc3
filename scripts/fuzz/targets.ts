// All that is fuzzed, by name.
import type { Target } from './target.ts'
import { controlTarget } from './targets/control.ts'
import { frameTargets } from './targets/frames.ts'
import { pcapTarget } from './targets/pcap.ts'
import { resultsTarget } from './targets/results.ts'
import { tcpOptionsTarget } from './targets/tcp-options.ts'

export function allTargets(): readonly Target[] {
  return [...frameTargets(), tcpOptionsTarget, pcapTarget, controlTarget, resultsTarget]
}
