// Boots a machine on one of the three hosts.
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { batchesOf } from '../kernel/batch.ts'
import { InlineMachine } from './inline.ts'
import { inlineMore } from './inlining.ts'
import type { Machine } from './machine.ts'
import type { BootOptions, CpuProgram } from './options.ts'
import { loadProgram } from './program.ts'
import { simulate } from './sim.ts'
import { stopAtSignals } from './stopsignal.ts'
import { ThreadsMachine } from './threads.ts'

/**
 * Boots a machine: its memory, its CPUs, and on each of them the program.
 *
 *     const machine = await boot({ cpus: 2, program: new URL('./program.js', import.meta.url) })
 *     ...
 *     await machine.stop()
 *
 * On threads and inline it has V8 inline more, in the whole process: inlining.ts.
 *
 * @throws KernelError EINVAL, ENOMEM where an option cannot be; CpuFailure where a program threw while it started
 */
export async function boot(options: BootOptions): Promise<Machine> {
  const { host = 'threads' } = options
  check(options)
  // A simulation is over before V8 has compiled that much.
  if (host !== 'sim') inlineMore()
  const machine = host === 'threads' ? await ThreadsMachine.boot(options) : await bootHere(options, host)
  if (options.signals ?? true) stopAtSignals(machine)
  return machine
}

async function bootHere(options: BootOptions, host: string): Promise<Machine> {
  const program = options.program instanceof URL ? await loadProgram(options.program) : options.program
  if (host === 'inline') return started(new InlineMachine(options, program))
  const { program: _url, ...rest } = options
  return simulate(program === undefined ? rest : { ...rest, program: program as CpuProgram })
}

/** A program that threw at once has stopped the machine: its error is boot's. `done` stays for the owner to look at. */
function started(machine: InlineMachine): InlineMachine {
  if (machine.failure === undefined) return machine
  machine.done.catch(() => {})
  throw machine.failure
}

function check(options: BootOptions): void {
  const { host = 'threads', spinTurns = 0, seed = 0, stopTimeoutMs = 0 } = options
  if (!['threads', 'inline', 'sim'].includes(host)) {
    throw new KernelError(Errno.EINVAL, `host is "${host}": give "threads", "inline" or "sim"`, 'boot')
  }
  if (typeof spinTurns !== 'number' || !(spinTurns >= 0)) {
    throw new KernelError(Errno.EINVAL, `spinTurns is ${spinTurns}: give a number from 0, or Infinity`, 'boot')
  }
  batchesOf(options.batches)
  if (!Number.isInteger(seed)) throw new KernelError(Errno.EINVAL, `seed is ${seed}: give a whole number`, 'boot')
  if (!(stopTimeoutMs >= 0)) {
    throw new KernelError(Errno.EINVAL, `stopTimeoutMs is ${stopTimeoutMs}: give a number from 0`, 'boot')
  }
  if (options.join === true && host !== 'threads') {
    throw new KernelError(
      Errno.EINVAL,
      `join is for host "threads": on "${host}" all CPUs are on the caller's thread`,
      'boot',
    )
  }
  if (options.join === true && options.cpus > Limits.cpus) {
    throw new KernelError(Errno.EINVAL, `cpus is ${options.cpus}: give at most ${Limits.cpus}`, 'boot')
  }
}
