// The machine's directory of names: which port is called what. Any CPU may add and look up, at any time.
// An entry is claimed by a compare-and-swap of its hash, filled, and then published by its value.
import { assert } from '../base/assert.ts'
import { readText, writeText } from '../base/bytes.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { hashName } from '../base/hash.ts'
import { Limits } from '../base/limits.ts'
import { bytes, struct, u16, u32 } from '../base/struct.ts'
import { NAME_BYTES } from './layout.ts'
import type { Memory } from './memory.ts'

const Name = struct({
  hash: u32, //    0  0: free
  value: u32, //   4  0: not published, or withdrawn
  length: u16, //  8
  kind: u16, //   10  NameKind
  text: bytes(Limits.nameBytes),
})
assert(Name.size === NAME_BYTES, 'a name entry is 64 bytes')
const AT = Name.offset
const encoder = new TextEncoder()

/** What the value of a name is: the directory also has the places of locks, of groups and of wheels, which are no ports. */
export const NameKind = { other: 0, port: 1 } as const
export type NameKind = (typeof NameKind)[keyof typeof NameKind]

export class Names {
  readonly #memory: Memory
  /** Scratch: a name that is checked. */
  readonly #bytes = new Uint8Array(Limits.nameBytes)

  constructor(memory: Memory) {
    this.#memory = memory
  }

  /** Publishes `value` (not 0) under `name`. @throws KernelError EEXIST, EINVAL, ENFILE */
  add(name: string, value: number, kind: NameKind = NameKind.other): void {
    const { read, written: length } = encoder.encodeInto(name, this.#bytes)
    if (length === 0 || read < name.length) {
      throw new KernelError(
        Errno.EINVAL,
        `the name "${name}" has ${encoder.encode(name).length} bytes: give 1 to ${Limits.nameBytes}`,
        'port',
      )
    }
    const { i32, u16, u8 } = this.#memory
    const entry = this.#entry(name, true)
    if (entry === 0) {
      throw new KernelError(
        Errno.ENFILE,
        `the machine has ${Limits.names} named ports already: no room for "${name}"`,
        'port',
      )
    }
    if (Atomics.load(i32, (entry + AT.value) >> 2) !== 0) {
      throw new KernelError(Errno.EEXIST, `a port named "${name}" exists already: choose another name`, 'port')
    }
    writeText(u8, entry + AT.text, name, Limits.nameBytes)
    u16[(entry + AT.length) >> 1] = length
    u16[(entry + AT.kind) >> 1] = kind
    if (Atomics.compareExchange(i32, (entry + AT.value) >> 2, 0, value) !== 0) {
      throw new KernelError(Errno.EEXIST, `a port named "${name}" exists already: choose another name`, 'port')
    }
  }

  /** The value, or 0 when no such name, of this kind where one is asked for, is published now. */
  find(name: string, kind?: NameKind): number {
    const entry = this.#entry(name, false)
    if (entry === 0) return 0
    const value = Atomics.load(this.#memory.i32, (entry + AT.value) >> 2)
    return kind === undefined || this.#memory.u16[(entry + AT.kind) >> 1] === kind ? value : 0
  }

  remove(name: string): void {
    const entry = this.#entry(name, false)
    if (entry !== 0) Atomics.store(this.#memory.i32, (entry + AT.value) >> 2, 0)
  }

  /** All published names with their values, or those of one kind. */
  list(kind?: NameKind): { readonly name: string; readonly value: number }[] {
    const { i32, u16, u8, layout } = this.#memory
    const found: { name: string; value: number }[] = []
    for (let i = 0; i < Limits.names; i++) {
      const entry = layout.names + i * NAME_BYTES
      const value = Atomics.load(i32, (entry + AT.value) >> 2)
      if (value === 0 || (kind !== undefined && u16[(entry + AT.kind) >> 1] !== kind)) continue
      found.push({ name: readText(u8, entry + AT.text, u16[(entry + AT.length) >> 1]!), value })
    }
    return found
  }

  /** Open addressing from the hash on. A claimed entry keeps its hash for ever: a name can come back, its place does not move. */
  #entry(name: string, claim: boolean): number {
    const { i32, layout } = this.#memory
    const hash = hashName(name) | 0
    for (let i = 0; i < Limits.names; i++) {
      const entry = layout.names + ((hash + i) & (Limits.names - 1)) * NAME_BYTES
      const word = (entry + AT.hash) >> 2
      let seen = Atomics.load(i32, word)
      if (seen === 0 && claim) {
        seen = Atomics.compareExchange(i32, word, 0, hash)
        if (seen === 0) return entry
      }
      if (seen === 0) return 0
      if (seen === hash && this.#matches(entry, name)) return entry
    }
    return 0
  }

  /** Two names of one hash are told apart by their text, once it is published. */
  #matches(entry: number, name: string): boolean {
    const { u16, u8 } = this.#memory
    const length = u16[(entry + AT.length) >> 1]!
    return length === 0 || readText(u8, entry + AT.text, length) === name
  }
}
