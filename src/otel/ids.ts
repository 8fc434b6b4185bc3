// Numbers of spans, for a provider of OpenTelemetry: those of exported hops are what `traceparentOf` has told other processes, so that
// what these do hangs below them; all others are the inner generator's.
//
//     const ids = new HopIds(new RandomIdGenerator())
//     const provider = new BasicTracerProvider({ idGenerator: ids, … })
//     exportChain(cpu.tracer.where(), { nowUs: cpu.clock.now(), ids })
import type { TraceContext } from '../kernel/trace/context.ts'

/** What a provider takes as its `idGenerator`. */
export interface IdGenerator {
  generateTraceId(): string
  generateSpanId(): string
}

/** Hops that are known to be exported. */
const KNOWN_MAX = 4096

export class HopIds implements IdGenerator {
  readonly #inner: IdGenerator
  /** The oldest first. */
  readonly #known = new Set<string>()
  #next: TraceContext | undefined = undefined

  constructor(inner: IdGenerator) {
    this.#inner = inner
  }

  // As functions that may be taken off: providers do.
  readonly generateTraceId = (): string => this.#next?.traceId ?? this.#inner.generateTraceId()
  readonly generateSpanId = (): string => this.#next?.spanId ?? this.#inner.generateSpanId()

  /** Whether a hop was exported, as far as that is remembered. */
  isKnown(spanId: string): boolean {
    return this.#known.has(spanId)
  }

  /** The span that `begin` begins has these numbers. */
  with<T>(context: TraceContext, begin: () => T): T {
    this.#next = context
    try {
      return begin()
    } finally {
      this.#next = undefined
      this.#remember(context.spanId)
    }
  }

  #remember(spanId: string): void {
    this.#known.add(spanId)
    if (this.#known.size <= KNOWN_MAX) return
    for (const oldest of this.#known) {
      this.#known.delete(oldest)
      break
    }
  }
}
