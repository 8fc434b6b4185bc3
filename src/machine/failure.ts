// A CPU threw: the machine stops, and says which one and why.
import { Errno, type ErrnoName, KernelError } from '../base/errno.ts'
import type { Cpu } from '../kernel/cpu.ts'

export class CpuFailure extends Error {
  override readonly name = 'CpuFailure'
  /** Which CPU it was. */
  readonly cpu: number

  constructor(cpu: number, where: string, cause: unknown) {
    super(`cpu ${cpu} threw ${where}: ${reason(cause)}`, { cause })
    this.cpu = cpu
  }

  /** Shuts a CPU down. What a thread's `finally` or another's last act threw meanwhile is a failure like any other. */
  static ofShutdown(cpu: Cpu): CpuFailure | undefined {
    try {
      cpu.shutdown()
      return undefined
    } catch (error) {
      return new CpuFailure(cpu.index, 'while it stopped', error)
    }
  }

  /** As `ofShutdown`, of all CPUs of a thread, one after the other: the first failure. */
  static ofShutdowns(cpus: readonly Cpu[]): CpuFailure | undefined {
    const failures = cpus.map((cpu) => CpuFailure.ofShutdown(cpu))
    return failures.find((failure) => failure !== undefined)
  }

  /** What it threw goes on, in its stack, through the queues to where it came from (trace/tracer.ts). */
  static of(cpu: Cpu, cause: unknown): CpuFailure {
    cpu.tracer.explain(cause)
    return new CpuFailure(cpu.index, cpu.running(), cause)
  }
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** An error as it travels between threads: a clone of one has lost its class, its name and its code. */
export interface PackedError {
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly code?: string
  readonly syscall?: string
}

export function pack(error: unknown): PackedError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const { name, message, stack } = error
  const text = (key: 'code' | 'syscall') => {
    const value: unknown = (error as { code?: unknown; syscall?: unknown })[key]
    return typeof value === 'string' ? { [key]: value } : {}
  }
  return { name, message, ...(stack === undefined ? {} : { stack }), ...text('code'), ...text('syscall') }
}

export function unpack({ name, message, stack, code, syscall }: PackedError): Error {
  const isOurs = name === KernelError.name && code !== undefined && code in Errno
  const error = isOurs ? new KernelError(Errno[code as ErrnoName], message, syscall) : new Error(message)
  if (!isOurs)
    Object.assign(error, { name }, code === undefined ? {} : { code }, syscall === undefined ? {} : { syscall })
  if (stack !== undefined) error.stack = stack
  return error
}
