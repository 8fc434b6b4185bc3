// The header by which a trace goes on in another process: W3C Trace Context, `traceparent` (https://www.w3.org/TR/trace-context/).
//
//     00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//     version, trace, the span that the receiver's are children of, and flags: bit 0 says that the sender keeps it

export interface TraceContext {
  /** 32 hexadecimal digits, in lower case, not all 0. */
  readonly traceId: string
  /** 16 of them. */
  readonly spanId: string
  readonly isSampled: boolean
}

const VERSION_0 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/
/** Later versions may have more behind that. */
const LATER = /^(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/
const TEXT_MAX = 512
const SAMPLED = 1

/** What a header says; undefined where it is none that may be gone on from. It may come from anybody. */
export function parseTraceparent(text: string): TraceContext | undefined {
  if (text.length > TEXT_MAX) return undefined
  const [, traceId, spanId, flags] = VERSION_0.exec(text) ?? LATER.exec(text) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 }
}

export function traceparentText({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
}
