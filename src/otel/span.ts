// Spans of a program and hops of a machine in one trace: a span that is active where something is sent becomes its cause, and a span that
// a handler begins is a child of the hop that it works on.
import type { Context } from '@opentelemetry/api'
import type { Cpu } from '../kernel/cpu.ts'
import type { Chain } from '../kernel/trace/chain.ts'
import type { TraceContext } from '../kernel/trace/context.ts'
import { openTelemetry } from './api.ts'
import { contextsOf, type IdentityOptions } from './identity.ts'

const SAMPLED = 1
/** In a context: the number of the hop that it stands for, which is no span of the program. */
const HOP = Symbol.for('damselfly hop')

/**
 * From now on what is sent on `cpu` while a span is active has it as its parent, as far as it is traced. The function that this gives ends that.
 * @throws KernelError ENODEV without @opentelemetry/api
 */
export function followSpans(cpu: Cpu): () => void {
  const { context, trace } = openTelemetry('to follow spans')
  const outside = (): TraceContext | undefined => {
    const active = context.active()
    const span = trace.getSpanContext(active)
    if (span === undefined || !trace.isSpanContextValid(span) || active.getValue(HOP) === span.spanId) return undefined
    return { traceId: span.traceId, spanId: span.spanId, isSampled: (span.traceFlags & SAMPLED) !== 0 }
  }
  cpu.tracer.outside = outside
  return () => {
    if (cpu.tracer.outside === outside) cpu.tracer.outside = undefined
  }
}

/**
 * The context whose span is the chain's latest hop: a span that is begun in it, `tracer.startSpan(name, {}, contextOf(chain))`, is that one's
 * child. The context that is active where the chain is empty.
 * @throws KernelError ENODEV without @opentelemetry/api
 */
export function contextOf(chain: Chain, options?: IdentityOptions): Context {
  const { context, trace } = openTelemetry('the context of a chain')
  const [latest] = contextsOf(chain, options)
  if (latest === undefined) return context.active()
  const { traceId, spanId, isSampled } = latest
  const span = { traceId, spanId, traceFlags: isSampled ? SAMPLED : 0, isRemote: true }
  return trace.setSpanContext(context.active(), span).setValue(HOP, spanId)
}
