// What the parts of a soak have in common: they take rounds, tell a reading behind each, and come to rest now and then, where all counts must add up.
import { setTimeout as delay } from 'node:timers/promises'
import type { Leak } from './leak.ts'
import type { SoakMachine } from './machine.ts'
import type { Reading } from './measure.ts'
import type { Endings } from './member.ts'

export interface PartOptions {
  readonly minutes: number
  readonly seed: number
  /** That own connections. */
  readonly cpus: number
  readonly leak: Leak | undefined
}

/** What a part has done so far. */
export interface Progress {
  rounds: number
  connections: number
  /** Of them, those that a program's end has cut off. */
  cut: number
  /** Servers that ended, and began again. */
  restarts: number
  disciplines: number
  /** Data and notices that went from a connection's CPU to a program on another one. */
  crossed: number
  /** How often it came to rest, and all counts added up. */
  rests: number
}

export type PartMessage =
  | { readonly reading: Reading; readonly progress: Progress }
  /** Objects of each CPU's slabs that are in use when all connections are over, and all TIME-WAITs. */
  | { readonly rest: readonly number[] }
  | { readonly error: string }

/** The shortest time between two readings: a collection of all memory takes a while itself. */
const READING_MS = 500
/** Between two rests. */
const REST_EVERY_MS = 15_000
const MOMENT_MS = 500
/** A TIME-WAIT's minute, and what ends a little later. */
const REST_MS = 75_000

export class Rounds {
  readonly progress: Progress = { rounds: 0, connections: 0, cut: 0, restarts: 0, disciplines: 0, crossed: 0, rests: 0 }
  readonly #options: PartOptions
  readonly #machine: SoakMachine

  constructor(options: PartOptions, machine: SoakMachine) {
    this.#options = options
    this.#machine = machine
    machine.onFailure(fail)
  }

  /** Takes rounds again and again, until the time is over; then all comes to rest. Returns false where the parent has ended it before. */
  async run(round: (number: number) => Promise<void>): Promise<boolean> {
    const { minutes, leak } = this.#options
    const machine = this.#machine
    const { progress } = this
    const beganMs = performance.now()
    let isOver = false
    process.on('message', () => {
      isOver = true
    })
    process.on('disconnect', () => process.exit(1))
    // Ctrl-C goes to all processes of the terminal: the parent decides.
    process.on('SIGINT', () => {})
    await this.#quiet()
    let readAtMs = beganMs
    let restedAtMs = beganMs
    for (; !isOver && performance.now() - beganMs < minutes * 60_000; progress.rounds++) {
      await round(progress.rounds)
      if (leak !== undefined) await machine.ask(machine.members.at(-1)!, { kind: 'leak', leak })
      if (performance.now() - readAtMs >= READING_MS) {
        tell({ reading: await machine.read(), progress })
        readAtMs = performance.now()
      }
      if (performance.now() - restedAtMs < REST_EVERY_MS) continue
      await this.#quiet()
      restedAtMs = performance.now()
    }
    if (isOver) return false
    await this.#quiet()
    if (machine.members.length > 1 && progress.crossed === 0)
      throw new Error('no connection was another CPU’s than its program’s')
    await delay(REST_MS)
    tell({ rest: await machine.live() })
    return true
  }

  /** Conversations of a round have ended so. */
  add({ whole, cut }: Endings): void {
    this.progress.connections += whole + cut
    this.progress.cut += cut
  }

  async #quiet(): Promise<void> {
    await this.#machine.quiet()
    this.progress.rests++
    this.progress.crossed = this.#machine.crossed
  }
}

/** Runs a part's program, and tells what it throws. The process ends when nothing is open any more. */
export async function runPart(main: (options: PartOptions) => Promise<void>): Promise<void> {
  // Where a CPU has failed, whoever waits for it throws as well; why it has failed is heard of a moment later.
  const failLater = (error: unknown) => void setTimeout(() => fail(error), MOMENT_MS)
  process.on('uncaughtException', failLater)
  try {
    await main(JSON.parse(process.argv[2]!) as PartOptions)
  } catch (error) {
    return failLater(error)
  }
  process.removeAllListeners('disconnect')
  process.disconnect?.()
}

/** The process ends by this: what is under way keeps it alive, and has nobody left who waits for it. */
function fail(error: unknown): void {
  process.exitCode = 1
  process.send!({ error: (error as Error).stack ?? String(error) } satisfies PartMessage, () => process.exit())
}

function tell(message: PartMessage): void {
  process.send!(message)
}
