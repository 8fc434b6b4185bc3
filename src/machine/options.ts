// What a machine is booted with.
import type { Cpu, CpuOptions } from '../kernel/cpu.ts'
import type { LayoutOptions } from '../kernel/layout.ts'
import type { Thread } from '../kernel/thread.ts'
import type { TraceMode } from '../kernel/trace/mode.ts'

/**
 * What each CPU runs first: makes its ports, starts its threads. A generator function becomes the CPU's
 * first thread; any other function is called before the first turn.
 */
export type CpuProgram<Data = unknown> =
  | ((cpu: Cpu, data: Data) => void)
  | ((thread: Thread, data: Data) => Generator<void, void, void>)

export interface MachineOptions extends LayoutOptions, CpuOptions {
  /** Seeds every CPU's `random`. Default: from the operating system. */
  readonly seed?: number
  /** How much of what is sent is traced to its origin, until `setTraceMode` says otherwise. Default `off`. */
  readonly trace?: TraceMode
  /** Show what is traced to a debugger as asynchronous stacks. Default: where this process listens for one when tracing begins (`--inspect`). */
  readonly inspect?: boolean
  /** Handed to the program on every CPU; on `threads` it is cloned. */
  readonly data?: unknown
}

export interface BootOptions extends MachineOptions {
  /**
   * - `threads`: a worker thread for each CPU (default)
   * - `inline`: all CPUs on the caller's event loop
   * - `sim`: virtual time; see `simulate`
   */
  readonly host?: 'threads' | 'inline' | 'sim'
  /** A module whose default export is a CpuProgram; on `inline` and `sim` a function will do. */
  readonly program?: URL | CpuProgram
  /** On `threads`: the caller's thread is the last CPU, on its event loop, as `machine.cpu`. Default false. */
  readonly join?: boolean
  /** Stop the machine at SIGINT and SIGTERM, and then end the process as the signal would have. Default true. */
  readonly signals?: boolean
  /** Turns without work, at most, before a CPU goes to sleep: it looks less long when its sleeps turn out to be long
   * (spin.ts). 0 sleeps at once; Infinity never. Default 2000, about 0.2 ms. */
  readonly spinTurns?: number
  /** How long `stop` waits for a CPU to leave its run loop before it is ended by force, in ms. Default 2000. */
  readonly stopTimeoutMs?: number
}
