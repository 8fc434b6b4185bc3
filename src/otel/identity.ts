// The numbers that hops have in a trace of OpenTelemetry: computed from what is in the chain, so that whoever sees a hop, in whatever process
// of this host, computes the same, and spans that were exported by several belong together.
import { createHash } from 'node:crypto'
import { hostname } from 'node:os'
import type { Chain, Hop } from '../kernel/trace/chain.ts'
import { parseTraceparent, type TraceContext, traceparentText } from '../kernel/trace/context.ts'

export interface IdentityOptions {
  /** Tells apart the machines of a process whose clocks run alike, as simulated ones do. Default: none. */
  readonly machine?: string
}

/**
 * The context of each hop, in the chain's order. A hop belongs to the trace of the nearest `remote` one before it; else the origin has begun a
 * trace of its own. Where the origin is no longer kept, the oldest hop that is stands for it.
 */
export function contextsOf({ hops }: Chain, { machine = '' }: IdentityOptions = {}): readonly TraceContext[] {
  const contexts: TraceContext[] = []
  let before: TraceContext | undefined
  for (const hop of hops.toReversed()) {
    const remote = hop.kind === 'remote' ? parseTraceparent(hop.to) : undefined
    const key = keyOf(hop, machine)
    before = remote ?? {
      traceId: before?.traceId ?? digits(`trace ${key}`, 32),
      spanId: digits(`span ${key}`, 16),
      isSampled: before?.isSampled ?? true,
    }
    contexts.push(before)
  }
  return contexts.reverse()
}

/** What a request or a message to another process carries, so that what it does there belongs to the chain; undefined where there is none. */
export function traceparentOf(chain: Chain, options?: IdentityOptions): string | undefined {
  const [latest] = contextsOf(chain, options)
  return latest === undefined ? undefined : traceparentText(latest)
}

/** Times are doubles of a clock that is no other machine's: they tell two hops of one number apart. */
function keyOf({ process: other, cpu, id, atUs }: Hop, machine: string): string {
  return [hostname(), other?.pid ?? process.pid, machine, cpu, id, atUs].join(' ')
}

function digits(key: string, count: number): string {
  const all = createHash('sha256').update(key).digest('hex').slice(0, count)
  // All zeros say "none".
  return /^0+$/.test(all) ? `${all.slice(1)}1` : all
}
