// A sender that obeys nothing: any descriptors beside any bytes, as many as the kernel takes. For tests.
import { libc } from '../../../device/linux/library.ts'
import { UnixCalls } from '../../../device/linux/unix.ts'

/** SCM_MAX_FD. */
export const DESCRIPTORS_MAX = 253
const HEADER_BYTES = 16

export class HostileSender {
  readonly system = libc()
  readonly calls = new UnixCalls()
  readonly descriptor: number
  readonly #opened: number[] = []
  readonly #sendmsg = this.system.declare('int64_t sendmsg(int, uintptr_t, int)')
  readonly #memfdCreate = this.system.declare('int memfd_create(uintptr_t, unsigned int)')
  readonly #ftruncate = this.system.declare('int ftruncate(int, int64_t)')

  constructor(path: string) {
    this.descriptor = this.calls.socket()
    const result = this.calls.connect(this.descriptor, path)
    if (result < 0) throw new Error(`connect: ${result}`)
  }

  /** Sends bytes with these descriptors; the result of sendmsg(2). */
  send(text: string, descriptors: readonly number[]): number {
    const bytes = new TextEncoder().encode(text)
    const control = new Uint8Array(new ArrayBuffer(HEADER_BYTES + descriptors.length * 4))
    const view = new DataView(control.buffer)
    view.setBigUint64(0, BigInt(control.length), true)
    view.setInt32(8, 1, true)
    view.setInt32(12, 1, true)
    for (const [i, descriptor] of descriptors.entries()) view.setInt32(HEADER_BYTES + i * 4, descriptor, true)
    const vector = new BigUint64Array([BigInt(this.system.pointer(bytes)), BigInt(bytes.length)])
    const words = new BigUint64Array(7)
    words[2] = BigInt(this.system.pointer(new Uint8Array(vector.buffer)))
    words[3] = 1n
    words[4] = BigInt(this.system.pointer(control))
    words[5] = BigInt(control.length)
    return this.#sendmsg(this.descriptor, this.system.pointer(new Uint8Array(words.buffer)), 0x4040)
  }

  /** A descriptor that `close` closes. */
  keep(descriptor: number): number {
    if (descriptor < 0) throw new Error(`no descriptor: ${descriptor}`)
    this.#opened.push(descriptor)
    return descriptor
  }

  /** A file in memory; sealed as `seals` say, bits of F_SEAL_*. */
  memory(text: string | Uint8Array, seals: number, length?: number): number {
    const name = new Uint8Array([120, 0])
    const descriptor = this.keep(this.#memfdCreate(this.system.pointer(name), 0x3))
    const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text
    if (bytes.length > 0) this.system.write(descriptor, this.system.pointer(bytes), bytes.length)
    if (length !== undefined) this.#ftruncate(descriptor, length)
    if (seals !== 0) this.system.fcntl(descriptor, 1033, seals)
    return descriptor
  }

  open(path: string, flags: number): number {
    return this.keep(this.system.open(path, flags))
  }

  close(): void {
    for (const descriptor of this.#opened.splice(0)) this.system.close(descriptor)
    this.system.close(this.descriptor)
  }
}
