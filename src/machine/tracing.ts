// What a thread shows of the traces of the CPUs that it runs. For the hosts, which know what runs where.
import type { Cpu } from '../kernel/cpu.ts'
import { isInspected, tasksOf } from './inspector.ts'
import type { MachineOptions } from './options.ts'
import { stackHook } from './stackhook.ts'

/** A CPU of this thread: as long as it traces, and until it is shut down, what it runs is told as caused by what it was. */
export function shown(cpu: Cpu, { inspect }: Pick<MachineOptions, 'inspect'>): Cpu {
  const show = (isSet: boolean) => {
    if (isSet) stackHook.add(cpu)
    else stackHook.remove(cpu)
    cpu.tracer.tasks = isSet && (inspect ?? isInspected()) ? tasksOf(cpu.memory) : undefined
  }
  cpu.tracer.onSwitch = show
  if (cpu.tracer.isSet) show(true)
  // The first that is added is the last that runs.
  cpu.onStop(() => show(false))
  return cpu
}

/** `cpu` waits, busily, for `other`, on the same thread: that one serves its IPIs, and nothing that it does was caused by what `cpu` is at. */
export function serveOther(cpu: Cpu, other: Cpu): void {
  const { current } = cpu.tracer
  cpu.tracer.current = 0
  try {
    other.ipi.drain()
  } catch (error) {
    // Here, for the turn that it ends is the other one's.
    other.tracer.explain(error)
    throw error
  } finally {
    cpu.tracer.current = current
  }
}
