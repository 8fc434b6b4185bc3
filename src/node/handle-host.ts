// A host as its handles see it: the stack on the CPU of this thread's event loop, and the loop. Made once for each host.
import type { NetContext } from '../net/context.ts'
import { type Discipline, groupCount } from '../net/discipline.ts'
import type { TcpSockets } from '../socket/tcp.ts'
import type { UdpSockets } from '../socket/udp.ts'
import type { Stack } from '../stack.ts'
import { NodeLoop, type Open } from './loop.ts'
import { ANY } from './sockaddr.ts'

export class HandleHost {
  readonly loop: NodeLoop
  readonly context: NetContext
  readonly tcp: TcpSockets
  readonly udp: UdpSockets
  /** Listen and bind for what is this CPU's alone: each CPU's program does it by itself. */
  readonly perCpu: boolean
  readonly #stack: Stack
  readonly #addresses: ReadonlySet<string>
  readonly #open = new Set<Open>()
  #onEmpty: (() => void) | undefined = undefined

  constructor(stack: Stack, perCpu = false) {
    this.#stack = stack
    this.loop = NodeLoop.of(stack.context.cpu)
    this.context = stack.context
    this.tcp = stack.tcp
    this.udp = stack.udp
    this.perCpu = perCpu
    const prefixes = stack.context.config.interfaces.flatMap(({ addresses }) => addresses)
    this.#addresses = new Set(prefixes.map((prefix) => prefix.split('/')[0]!))
  }

  /** Whether an IPv4 address is one of the host's, or stands for all of them. */
  isOwn(address: string): boolean {
    // All of 127/8 is the host itself.
    return address === ANY || address.startsWith('127.') || this.#addresses.has(address)
  }

  /** As Stack.setDiscipline. Resolves when all CPUs have it. */
  setDiscipline(discipline: Discipline, groups: number | undefined): Promise<void> {
    groupCount(discipline, this.context.config.cpus.length, groups)
    this.loop.driver.enter()
    return new Promise((resolve, reject) => {
      this.#stack.setDiscipline(discipline, groups, (error) => (error === undefined ? resolve() : reject(error)))
    })
  }

  /** A handle was made. */
  opened(handle: Open): void {
    this.#open.add(handle)
    this.loop.opened(handle)
  }

  /** It is closed. */
  closed(handle: Open): void {
    this.#open.delete(handle)
    this.loop.closed(handle)
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  /** Closes all that is open: servers, sockets, and what nobody has. Resolves when they are closed. */
  closeAll(): Promise<void> {
    for (const handle of this.#open) {
      const { owner } = handle
      if (owner?.destroy !== undefined) owner.destroy()
      else if (owner?.close !== undefined) owner.close()
      else handle.close()
    }
    if (this.#open.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onEmpty = resolve
    })
  }
}
