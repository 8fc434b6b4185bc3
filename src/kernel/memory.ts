// The machine's memory: one WebAssembly.Memory (shared between worker threads, or not), the views of it,
// its layout, and the routines that copy and sum in it.
import { Errno, KernelError } from '../base/errno.ts'
import { type Routines, routines } from '../base/routines.ts'
import type { Views } from '../base/struct.ts'
import { Transfer } from '../base/transfer.ts'
import { Layout, type LayoutOptions } from './layout.ts'

const PAGE_BYTES = 65536

/** Something that has counted what is not in the memory yet. */
export interface Foldable {
  fold(): void
}

export class Memory implements Views {
  readonly wasm: WebAssembly.Memory
  readonly shared: boolean
  readonly layout: Layout
  readonly routines: Routines
  /** Copies to and from buffers outside. */
  readonly transfer: Transfer
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly i32: Int32Array
  readonly u32: Uint32Array
  readonly f64: Float64Array
  readonly view: DataView
  /** What CPUs of this thread have counted and not yet written down (counters.ts). */
  readonly unfolded: Foldable[] = []

  /** Over memory that exists already: another CPU's view of the same machine. */
  constructor(wasm: WebAssembly.Memory, options: LayoutOptions, shared: boolean) {
    this.wasm = wasm
    this.shared = shared
    this.layout = new Layout(options)
    const { buffer } = wasm
    this.u8 = new Uint8Array(buffer)
    this.u16 = new Uint16Array(buffer)
    this.i32 = new Int32Array(buffer)
    this.u32 = new Uint32Array(buffer)
    this.f64 = new Float64Array(buffer)
    this.view = new DataView(buffer)
    this.routines = routines(wasm, this, shared)
    this.transfer = new Transfer(this.u8, shared)
  }

  /** Has all counts written down that are this thread's: for whoever reads them here. */
  fold(): void {
    for (const each of this.unfolded) each.fold()
  }

  /**
   * New memory, all zero, of fixed size: it never moves.
   * @throws KernelError EINVAL, ENOMEM
   */
  static create(options: LayoutOptions, shared: boolean): Memory {
    const layout = new Layout(options)
    const pages = Math.ceil(layout.memoryBytes / PAGE_BYTES)
    let wasm: WebAssembly.Memory
    try {
      wasm = new WebAssembly.Memory({ initial: pages, maximum: pages, shared })
    } catch (cause) {
      const sentence = `the operating system does not give ${layout.memoryBytes} bytes of memory: ask for less by memoryBytes`
      throw new KernelError(Errno.ENOMEM, sentence, 'boot', { cause })
    }
    return new Memory(wasm, options, shared)
  }
}
