// What one UNIX-domain socket knows of traces, at both of its ends: those of what the program has written and the handle has not
// been given yet, the one of what the handle has given to the program last, and what was counted. Shared by socket and handle.
import type { Clock } from '../../base/clock.ts'
import { Errno, KernelError } from '../../base/errno.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { TRACE_BYTES_MAX } from '../../kernel/trace/wire.ts'
import { TokenBucket } from './bucket.ts'
import type { Below } from './process-trace.ts'

/** Why something that came as a trace was refused. Its bytes are read as if it had not been there. */
export const REFUSALS = [
  /** More than one descriptor came with the same bytes. */
  'count',
  /** It is not a sealed file in memory: whoever sent it could still change it, or reading it could block. */
  'seals',
  /** It is empty, or too long, or no regular file. */
  'size',
  /** It cannot be read. */
  'unreadable',
  /** It is no trace of a known format. */
  'content',
  /** There were too many; the kernel has closed it. */
  'rate',
  /** This process has no free descriptor; the kernel has closed it. */
  'descriptors',
] as const
export type Refusal = (typeof REFUSALS)[number]

export interface TraceLimits {
  /** Descriptors that are looked into a second, in the long run; default 1000. One that was read a moment ago is known, and not counted. */
  readonly perSecond?: number
  /** And at once; default 100. */
  readonly burst?: number
  /** Longest trace; default and at most 65 536. */
  readonly bytesMax?: number
}

export type Trace = (below: Below) => Chain | undefined

export interface TraceOptions {
  /**
   * Asked at each write; what it gives goes with the bytes. Undefined: no trace with this one. Default: this process and the stack of
   * the call. `false`: never a trace. It is given the function that the program has called, which its stack begins below
   * (`Error.captureStackTrace(holder, below)`).
   */
  readonly trace?: Trace | false | undefined
  /** Limits for what comes, or `false`: descriptors are not even let in. */
  readonly receiveTraces?: TraceLimits | false
}

export interface TraceStatistics {
  /** Traces that came and were taken. */
  readonly received: number
  readonly refused: Readonly<Record<Refusal, number>>
  /** Times that a trace went with bytes: once for each 32 KiB of a write. */
  readonly sent: number
  /** Times that the operating system had no descriptor or room for one; the bytes went without. */
  readonly unsent: number
}

export class Traces {
  readonly trace: Trace | undefined
  readonly receives: boolean
  readonly bytesMax: number
  readonly bucket: TokenBucket
  /** For each write that the handle has not been given yet, in order. */
  readonly #written: (Chain | undefined)[] = []
  /** Of what the handle has given away last, and how often it has. */
  latest: Chain | undefined = undefined
  given = 0
  readonly statistics = {
    received: 0,
    refused: Object.fromEntries(REFUSALS.map((reason) => [reason, 0])) as Record<Refusal, number>,
    sent: 0,
    unsent: 0,
  }

  /**
   * @param ownTrace where the options have none
   * @throws KernelError EINVAL
   */
  constructor(clock: Clock, ownTrace: Trace, { trace = ownTrace, receiveTraces = {} }: TraceOptions = {}) {
    const { perSecond = 1000, burst = 100, bytesMax = TRACE_BYTES_MAX } = receiveTraces === false ? {} : receiveTraces
    if (!(perSecond >= 0 && burst >= 1 && bytesMax >= 1 && bytesMax <= TRACE_BYTES_MAX)) {
      const sentence = `receiveTraces is { perSecond: ${perSecond}, burst: ${burst}, bytesMax: ${bytesMax} }: give perSecond of 0 or more, burst of 1 or more, and bytesMax of 1 to ${TRACE_BYTES_MAX}`
      throw new KernelError(Errno.EINVAL, sentence)
    }
    this.trace = trace === false ? undefined : trace
    this.receives = receiveTraces !== false
    this.bytesMax = bytesMax
    this.bucket = new TokenBucket(clock, perSecond, burst)
  }

  refuse(reason: Refusal): undefined {
    this.statistics.refused[reason]++
    return undefined
  }

  /**
   * The program writes: its trace is taken now, for its bytes may be sent later, when the program is elsewhere.
   * @returns how many wait now, for `takeBack`
   */
  put(below: Below): number {
    if (this.trace === undefined) return 0
    return this.#written.push(this.trace(below))
  }

  /** What was put could not be written. Where the handle has it already, the stream has failed behind that. */
  takeBack(count: number): void {
    if (count > 0 && this.#written.length === count) this.#written.pop()
  }

  /** Those of as many writes, which the handle is given now; undefined where none has one. */
  take(count: number, below: Below): readonly (Chain | undefined)[] | undefined {
    if (this.trace === undefined) return undefined
    // C++ (TLS, HTTP/2) writes past the socket, with the program's stack below it or without.
    if (this.#written.length === 0) {
      const chain = this.trace(below)
      return chain === undefined ? undefined : new Array<Chain>(count).fill(chain)
    }
    return this.#written.splice(0, count)
  }
}
