// The compiled command `damselfly` as a child process, for the tests that use it as a user would. Every child has a limit
// of time, and is ended by its own id.
import type { ChildProcess } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))

/** The longest that anything here waits for something that happens within seconds on an idle machine. */
const LIMIT_MS = 30_000

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A child whose output is kept. */
export class Command {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  /** Resolves with how it ended; a child that outlives `limitMs` ends by SIGKILL. */
  readonly ended: Promise<Ended>

  constructor(child: ChildProcess, limitMs: number = LIMIT_MS) {
    this.child = child
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = new Promise((resolve, reject) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
      child.once('error', reject)
      child.once('close', (code, signal) => {
        clearTimeout(timer)
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr })
      })
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Ends it by a signal, and tells how it ended. */
  end(signal: NodeJS.Signals): Promise<Ended> {
    this.child.kill(signal)
    return this.ended
  }
}

/** What a child of a test gets: not the test runner's own variables. */
export function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...rest } = process.env
  return { ...rest, ...more }
}

/** Looks again and again until `look` gives something. The only wait of these tests: for a condition, never for a time. */
export async function until<Result>(what: string, look: () => Result | Promise<Result>): Promise<NonNullable<Result>> {
  const deadline = performance.now() + LIMIT_MS
  for (;;) {
    const found = await look()
    if (found) return found
    if (performance.now() > deadline) throw new Error(`waited ${LIMIT_MS} ms for ${what}`)
    await delay(20)
  }
}
