// Progress on a terminal: one line that is written over again and again; where there is no terminal, a plain line now and then.
import { duration } from './format.ts'
import type { Progress } from './run.ts'

/** What it needs of a stream. */
export interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** Share of the runs between two plain lines. */
const PLAIN_SHARE = 0.1

export class ProgressLine {
  readonly #screen: Screen
  #shown = -1

  constructor(screen: Screen) {
    this.#screen = screen
  }

  show(progress: Progress): void {
    const { last } = progress
    if (last !== undefined && 'error' in last.outcome) {
      this.line(`${last.experiment} ${last.cell} failed: ${last.outcome.error}`)
    }
    const text = progressText(progress)
    if (this.#screen.isTTY) {
      const line = [...text].slice(0, (this.#screen.columns ?? 80) - 1).join('')
      this.#screen.write(`\r\x1b[K${line}`)
      if (progress.next === undefined) this.#screen.write('\n')
      return
    }
    const share = progress.total === 0 ? 1 : progress.done / progress.total
    const isDue = share >= this.#shown + PLAIN_SHARE || progress.next === undefined
    if (!isDue) return
    this.#shown = share
    this.#screen.write(`${text}\n`)
  }

  /** Something that stays, above the line that is written over. */
  line(text: string): void {
    this.#screen.write(`${this.#screen.isTTY ? '\r\x1b[K' : ''}${text}\n`)
  }
}

export function progressText({ done, total, leftMs, next }: Progress): string {
  const width = String(total).length
  const count = `${String(done).padStart(width)}/${total} runs`
  if (next === undefined) return done === total ? `${count}, all done` : `${count}, as many as fit into the time`
  return `${count}, about ${duration(leftMs)} left: ${next.experiment} ${next.cell.key}`
}
