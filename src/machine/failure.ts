// A CPU threw: the machine stops, and says which one and why.
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

  static of(cpu: Cpu, cause: unknown): CpuFailure {
    return new CpuFailure(cpu.index, cpu.running(), cause)
  }
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
