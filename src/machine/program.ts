// Loading and starting a CPU's program.
import { Errno, KernelError } from '../base/errno.ts'
import type { Cpu } from '../kernel/cpu.ts'
import type { Program } from '../kernel/thread.ts'
import type { CpuProgram } from './options.ts'

/** @throws KernelError EINVAL where the module has no function as its default export */
export async function loadProgram(url: URL | string): Promise<CpuProgram> {
  const module: { default?: unknown } = await import(String(url))
  if (typeof module.default !== 'function') {
    const sentence = `the program ${url} has no function as its default export: export default function (cpu, data) { … }`
    throw new KernelError(Errno.EINVAL, sentence, 'boot')
  }
  return module.default as CpuProgram
}

const GeneratorFunction = Object.getPrototypeOf(function* () {}).constructor

/** Starts `program` on `cpu`. */
export function startProgram(cpu: Cpu, program: CpuProgram, data: unknown): void {
  if (program instanceof GeneratorFunction) {
    const run = program as (thread: Parameters<Program>[0], data: unknown) => ReturnType<Program>
    cpu.threads.start('main', (thread) => run(thread, data))
  } else {
    const run = program as (cpu: Cpu, data: unknown) => void
    run(cpu, data)
  }
}
