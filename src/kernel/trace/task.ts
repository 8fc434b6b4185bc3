// How hops are shown to a debugger, where there is one: for machine/inspector.ts, which has the means.
import type { TraceId } from './record.ts'

export interface HopTasks {
  /** A hop was recorded: what it is done from is on the stack. */
  made(id: TraceId): void
  /** Runs what a hop has led to; 0 for what has no known cause. */
  run<T>(id: TraceId, call: () => T): T
}
