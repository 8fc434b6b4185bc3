// How a machine ends: once, well or with a failure.
export class Ending {
  /** The owner's promise: a failure that the owner does not look at ends the process, as any rejection does. */
  readonly done: Promise<void>
  /** The machine's own: resolves in both cases. */
  readonly settled: Promise<void>
  #resolve: (() => void) | undefined
  #reject: ((error: unknown) => void) | undefined
  #settle: (() => void) | undefined

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.settled = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  well(): void {
    this.#resolve?.()
    this.#settle?.()
  }

  badly(error: unknown): void {
    this.#reject?.(error)
    this.#settle?.()
  }
}
