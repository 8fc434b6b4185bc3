// Traces as sealed files in memory, for their descriptors to be sent. The same bytes are one file, kept for the next time: a trace with
// each write then costs no system call of its own. One object for each thread; `clear` when nobody is left who sends.
import type { UnixCalls } from '../../device/linux/unix.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { encodeChain } from '../../kernel/trace/wire.ts'

/** Files that are kept, and so descriptors: whoever has been used longest ago is closed. */
const FILES_MAX = 64

interface TraceFile {
  readonly text: string
  descriptor: number
}

export class TraceFiles {
  readonly #system: UnixCalls
  /** By what is in them, the last used one last. */
  readonly #files = new Map<string, TraceFile>()
  /** So that a chain that is given again needs not be encoded. */
  readonly #ofChain = new WeakMap<Chain, TraceFile>()

  constructor(system: UnixCalls) {
    this.#system = system
  }

  get size(): number {
    return this.#files.size
  }

  /** A file of the chain, which stays open for this turn at least; or `-errno`. */
  descriptor(chain: Chain): number {
    const known = this.#ofChain.get(chain)
    if (known !== undefined && this.#files.get(known.text) === known) return this.#use(known)
    const bytes = encodeChain(chain)
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
    let file = this.#files.get(text)
    if (file === undefined) {
      const descriptor = this.#system.sealedFile(this.#system.pointer(bytes), bytes.length)
      if (descriptor < 0) return descriptor
      file = { text, descriptor }
      if (this.#files.size === FILES_MAX) this.#close(this.#files.values().next().value!)
    }
    this.#ofChain.set(chain, file)
    return this.#use(file)
  }

  /** Closes all. */
  clear(): void {
    for (const file of this.#files.values()) this.#close(file)
  }

  #use(file: TraceFile): number {
    this.#files.delete(file.text)
    this.#files.set(file.text, file)
    return file.descriptor
  }

  #close(file: TraceFile): void {
    this.#files.delete(file.text)
    this.#system.close(file.descriptor)
  }
}
