// A process of peer-program.ts, as its parent sees it.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Order, State } from './peer-program.ts'

const PROGRAM = fileURLToPath(new URL('./peer-program.js', import.meta.url))
const LIMIT_MS = 60_000

type Message = string | State

export class Peer {
  readonly child: ChildProcess
  readonly #messages: Message[] = []
  readonly #wakes: (() => void)[] = []

  constructor(kind: 'unix' | 'net') {
    this.child = fork(PROGRAM, [kind], { timeout: LIMIT_MS })
    this.child.on('message', (message: Message) => {
      this.#messages.push(message)
      this.#wakes.shift()?.()
    })
  }

  async #message(): Promise<Message> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wakes.push(resolve)
      })
    }
    return this.#messages.shift()!
  }

  async order(order: Order): Promise<Message> {
    this.child.send(order)
    return this.#message()
  }

  async state(): Promise<State> {
    return (await this.order({ do: 'state' })) as State
  }

  /** The state when it is as it should be: things between processes take their time. */
  async until(condition: (state: State) => boolean): Promise<State> {
    for (;;) {
      const state = await this.state()
      if (condition(state)) return state
      if (!this.child.connected) throw new Error('the process has ended')
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  /** Ends it, by a signal where it is still there. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const { child } = this
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }
}
