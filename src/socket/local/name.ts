// Names of local sockets. Each belongs to the CPU that its hash says, which alone knows what it stands for: so nothing is locked, and who
// binds, connects or sends to a name asks that CPU by message.
import { Errno } from '../../base/errno.ts'
import { hashName } from '../../base/hash.ts'
import { Limits } from '../../base/limits.ts'
import type { LocalAddress, LocalKind } from './kind.ts'
import type { NameUse } from './message.ts'

interface Entry {
  readonly use: NameUse
  readonly kind: LocalKind
  readonly shared: boolean
  /** Several where they are shared: connections go to one after the other. */
  readonly targets: LocalAddress[]
}

/** The CPU that keeps a name. */
export function keeperOf(name: string, cpus: number): number {
  return hashName(name) % cpus
}

/** The names that one CPU keeps. */
export class NameTable {
  readonly #entries = new Map<string, Entry>()

  get size(): number {
    return this.#entries.size
  }

  /** Returns 0, EADDRINUSE, or ENOSPC where there are as many as there can be. */
  bind(name: string, entry: Omit<Entry, 'targets'>, target: LocalAddress): number {
    const known = this.#entries.get(name)
    if (known === undefined) {
      if (this.#entries.size >= Limits.localNames) return Errno.ENOSPC
      this.#entries.set(name, { ...entry, targets: [target] })
      return 0
    }
    const isAlike = known.use === entry.use && known.kind === entry.kind
    if (!known.shared || !entry.shared || !isAlike) return Errno.EADDRINUSE
    known.targets.push(target)
    return 0
  }

  unbind(name: string, { cpu, id }: LocalAddress): void {
    const known = this.#entries.get(name)
    const index = known?.targets.findIndex((each) => each.cpu === cpu && each.id === id) ?? -1
    if (known === undefined || index < 0) return
    known.targets.splice(index, 1)
    if (known.targets.length === 0) this.#entries.delete(name)
  }

  /** Who is to get what is sent to a name; or ENOENT, EPROTOTYPE, ECONNREFUSED. */
  find(name: string, use: NameUse, kind: LocalKind): LocalAddress | Errno {
    const entry = this.#entries.get(name)
    if (entry === undefined) return Errno.ENOENT
    if (entry.kind !== kind) return Errno.EPROTOTYPE
    if (entry.use !== use) return Errno.ECONNREFUSED
    const target = entry.targets.shift()!
    entry.targets.push(target)
    return target
  }
}
