// What the parts of a soak have in common: they take rounds, and tell a reading behind each.

import { setTimeout as delay } from 'node:timers/promises'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { liveObjects, measure, type Reading } from './measure.ts'

export interface PartOptions {
  readonly minutes: number
  readonly seed: number
}

export type PartMessage =
  | { readonly reading: Reading; readonly rounds: number; readonly connections: number }
  /** Objects of the slabs that are in use when all connections are over, and all TIME-WAITs. */
  | { readonly rest: number }
  | { readonly error: string }

/** The shortest time between two readings: a collection of all memory takes a while itself. */
const READING_MS = 500
/** A TIME-WAIT's minute, and what ends a little later. */
const REST_MS = 75_000

/** How a process of a part runs: `round` again and again, until the time is over or the parent says so; then all comes to rest. */
export async function rounds(
  { minutes }: PartOptions,
  cpu: Cpu,
  round: (number: number) => Promise<number>,
): Promise<void> {
  const beganMs = performance.now()
  let isOver = false
  process.on('message', () => {
    isOver = true
  })
  process.on('disconnect', () => process.exit(1))
  // Ctrl-C goes to all processes of the terminal: the parent decides.
  process.on('SIGINT', () => {})
  let connections = 0
  let readAtMs = beganMs
  for (let number = 0; !isOver && performance.now() - beganMs < minutes * 60_000; number++) {
    connections += await round(number)
    if (performance.now() - readAtMs < READING_MS) continue
    tell({ reading: measure(cpu, beganMs), rounds: number + 1, connections })
    readAtMs = performance.now()
  }
  if (isOver) return
  await delay(REST_MS)
  tell({ rest: liveObjects(cpu) })
}

/** The process has done its part, and ends when nothing is open any more. */
export function leave(): void {
  process.removeAllListeners('disconnect')
  process.disconnect?.()
}

export function tell(message: PartMessage): void {
  process.send!(message)
}
