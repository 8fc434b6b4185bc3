// Layers as Mach has them (policy.ts): the boundaries of a host that are queues, each with a kernel thread of its own on every CPU.
// Made by stack.ts, which gives it the ports that lie at a boundary.
//
// The threads have priorities from the wire up, so that a packet which arrives goes through all of them in one turn of the CPU, and the
// roll-ups of TCP come after the last one of the batch. What is sent leaves by the roll-ups, and takes a turn for each boundary.
import type { Port } from '../../kernel/port.ts'
import type { Thread } from '../../kernel/thread.ts'
import type { NetContext } from '../context.ts'
import { type DispatchPlan, LAYERS, type Layer } from '../policy.ts'

export class Layers {
  readonly #context: NetContext
  readonly #limit: number
  readonly #threads = new Map<Layer, { readonly thread: Thread; readonly ports: Port[] }>()

  constructor(context: NetContext, { layers, queueLimit }: DispatchPlan) {
    this.#context = context
    this.#limit = queueLimit
    for (const layer of layers) {
      const ports: Port[] = []
      const name = `${context.config.name} ${layer}`
      const thread = context.cpu.threads.start(name, (self) => self.serve(ports), 0, LAYERS.indexOf(layer))
      this.#threads.set(layer, { thread, ports })
    }
  }

  has(layer: Layer): boolean {
    return this.#threads.has(layer)
  }

  /** What comes to `port` waits for the layer's thread from now on; nothing changes where the boundary is none. */
  serve(layer: Layer, port: Port): void {
    const found = this.#threads.get(layer)
    if (found === undefined) return
    const { cpu } = this.#context
    cpu.ports.handTo(port, found.thread, this.#limit)
    found.ports.push(port)
    cpu.onStop(() => cpu.ports.discard(port))
  }
}
