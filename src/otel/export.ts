// A chain as spans of OpenTelemetry: one for each hop, from when it was done until what it led to was done in turn.
import type { Attributes, Span, SpanContext, SpanOptions, Tracer } from '@opentelemetry/api'
import { wallClockUs } from '../base/clock.ts'
import type { Chain, Hop, HopKind } from '../kernel/trace/chain.ts'
import type { TraceContext } from '../kernel/trace/context.ts'
import { openTelemetry } from './api.ts'
import { contextsOf, type IdentityOptions } from './identity.ts'
import type { HopIds } from './ids.ts'

export interface ExportOptions extends IdentityOptions {
  /** When the chain is looked at, by its machine's clock: `cpu.clock.now()`. The latest hop ends then. */
  readonly nowUs: number
  /** The same moment by the wall clock, µs since 1970. Default: now. */
  readonly wallUs?: number
  /** Default: that of the program's provider, `trace.getTracer('damselfly')`. */
  readonly tracer?: Tracer
  /** Which the provider was given, too. Without it spans have numbers by chance: their links hold within a call only. */
  readonly ids?: HopIds
}

const PRODUCERS: ReadonlySet<HopKind> = new Set(['send', 'forward', 'reply', 'abort', 'ipi', 'process'])

/**
 * Begins and ends a span for each hop of a chain that was done in this process; hops of others are theirs to export, and are linked to. With
 * `ids` a hop that chains have in common is exported once. Returns the spans' contexts, the latest hop's first.
 * @throws KernelError ENODEV without @opentelemetry/api
 */
export function exportChain(chain: Chain, options: ExportOptions): readonly SpanContext[] {
  const { ROOT_CONTEXT, SpanKind, trace } = openTelemetry('to export a chain')
  const { nowUs, wallUs = wallClockUs(), tracer = trace.getTracer('damselfly'), ids } = options
  const kindOf = (kind: HopKind) =>
    kind === 'call' ? SpanKind.CLIENT : PRODUCERS.has(kind) ? SpanKind.PRODUCER : SpanKind.INTERNAL
  const contexts = contextsOf(chain, options)
  const exported: SpanContext[] = []
  let before: SpanContext | undefined
  for (let i = chain.hops.length - 1; i >= 0; i--) {
    const hop = chain.hops[i]!
    const own = contexts[i]!
    if (hop.kind === 'remote' || hop.process !== undefined || ids?.isKnown(own.spanId) === true) {
      before = spanContext(own)
      continue
    }
    const isRoot = before === undefined && ids !== undefined
    // Whose number cannot be chosen has one that is computed for a parent, so that the trace's is.
    const parent = before ?? spanContext({ ...own, spanId: own.traceId.slice(16) })
    const context = isRoot ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
    const settings: SpanOptions = {
      kind: kindOf(hop.kind),
      startTime: time(wallUs + hop.atUs - nowUs),
      attributes: attributes(hop),
      root: isRoot,
    }
    const begin = () => tracer.startSpan(nameOf(hop), settings, context)
    const span: Span = ids === undefined ? begin() : ids.with(own, begin)
    span.end(time(wallUs + endOf(chain, i, nowUs) - nowUs))
    before = span.spanContext()
    exported.push(before)
  }
  return exported.reverse()
}

function spanContext({ traceId, spanId, isSampled }: TraceContext): SpanContext {
  return { traceId, spanId, traceFlags: isSampled ? 1 : 0, isRemote: true }
}

/** When the next hop was done, as far as that is told by the same clock; else now. */
function endOf({ hops }: Chain, i: number, nowUs: number): number {
  const later = hops[i - 1]
  return later === undefined || later.process !== undefined ? nowUs : later.atUs
}

function nameOf({ kind, to }: Hop): string {
  return to === '' ? kind : `${kind} ${to}`
}

function attributes({ kind, cpu, to, id, frames }: Hop): Attributes {
  const [frame] = frames
  return {
    'damselfly.kind': kind,
    'damselfly.cpu': cpu,
    'damselfly.port': to,
    'damselfly.hop': id,
    ...(frame === undefined
      ? {}
      : { 'code.function': frame.function, 'code.filepath': frame.file, 'code.lineno': frame.line }),
  }
}

/** As OpenTelemetry takes it without losing what is below a millisecond. */
function time(us: number): [seconds: number, nanoseconds: number] {
  const seconds = Math.floor(us / 1e6)
  return [seconds, Math.floor((us - seconds * 1e6) * 1000)]
}
