// Where the sockets of one thread meet its event loop: what they share, and how their programs are called. libuv tells that a descriptor
// is ready; that only marks its handle, and behind all such news of one turn of the loop the handles call their programs: one callback
// after the other, each in the async scope of its handle and with process.nextTick and promises run behind it, as Node itself does it.
import type { AsyncResource } from 'node:async_hooks'
import { type Clock, epoch, monotonicClock } from '../../base/clock.ts'
import type { Pointer } from '../../device/linux/library.ts'
import { UnixCalls } from '../../device/linux/unix.ts'
import { Watch } from '../../device/linux/watch.ts'
import { TRACE_BYTES_MAX } from '../../kernel/trace/wire.ts'
import { runTicks } from '../binding.ts'
import { READ_BYTES } from '../loop.ts'
import { NativeCallbacks } from '../native-callbacks.ts'
import { ReadSlab } from '../slab.ts'
import { Disposal } from './disposal.ts'
import { Lingering } from './lingering.ts'
import { ProcessTraces } from './process-trace.ts'
import { TraceFiles } from './trace-files.ts'

/** A handle that has something to tell its program. */
export interface Deliverable {
  /** On the list of those. For UnixLoop alone. */
  queued: boolean
  /** Calls the program. What the program throws passes through. */
  deliver(): void
}

/** How long the end of the process waits until peers have read what was sent to them with traces; and between two looks. */
const EXIT_LINGER_MS = 1000
const EXIT_LOOK_MS = 1

/** A handle that has a descriptor. */
export interface Open {
  /** Whether the process can end without a loss: see lingering.ts. */
  canEnd(): boolean
  /** The thread ends: closes the descriptor, and calls nobody. */
  abandon(): void
}

/** Memory that calls of the operating system write to. */
export interface Room {
  readonly bytes: Buffer
  readonly pointer: Pointer
}

export class UnixLoop {
  static #ofThread: UnixLoop | undefined

  readonly system: UnixCalls
  readonly clock: Clock = monotonicClock(epoch())
  readonly callbacks = new NativeCallbacks()
  readonly disposal: Disposal
  readonly lingering: Lingering
  readonly stacks = new ProcessTraces()
  readonly files: TraceFiles
  /** Traces are read here. */
  readonly traceRoom: Room
  /** Strings are encoded here, and small chunks gathered in the other: good within a call. */
  readonly textRoom: Room
  readonly gatherRoom: Room
  #room: Room
  readonly #slab = new ReadSlab()
  readonly #open = new Set<Open>()
  #ready: Deliverable[] = []
  #isScheduled = false
  /** @throws KernelError EOPNOTSUPP where this is not Linux, or koffi too old; ENODEV where koffi cannot be loaded */
  constructor(system: UnixCalls = new UnixCalls()) {
    Watch.check()
    this.system = system
    this.disposal = new Disposal(system)
    this.files = new TraceFiles(system)
    this.lingering = new Lingering(system)
    // The kernel closes everything at once then; and where a worker ends, nothing: descriptors are the process's.
    process.on('exit', this.#finish)
    this.#room = this.#makeRoom(READ_BYTES)
    this.traceRoom = this.#makeRoom(TRACE_BYTES_MAX)
    this.textRoom = this.#makeRoom(READ_BYTES)
    this.gatherRoom = this.#makeRoom(READ_BYTES)
  }

  /** The one of this thread, made when it is first asked for. */
  static ofThread(): UnixLoop {
    UnixLoop.#ofThread ??= new UnixLoop()
    return UnixLoop.#ofThread
  }

  /** What is received next comes here. Good until it is taken. */
  get room(): Room {
    return this.#room
  }

  /** The first `bytes` of the room, for the program to keep. */
  takeRoom(bytes: number): Buffer {
    if (bytes > READ_BYTES / 2) {
      // Given away as it is: a copy would cost as much as the call that has filled it.
      const taken = this.#room.bytes.subarray(0, bytes)
      this.#room = this.#makeRoom(READ_BYTES)
      return taken
    }
    const kept = this.#slab.room(bytes)
    this.#slab.keep(kept, bytes)
    this.#room.bytes.copy(kept, 0, 0, bytes)
    return kept
  }

  /** `handle` has something to tell. */
  queue(handle: Deliverable): void {
    if (handle.queued) return
    handle.queued = true
    this.#ready.push(handle)
    this.#schedule()
  }

  /** Calls a function of the program in the scope of `resource`, and then what that has put off. */
  call<This, Parameters extends unknown[], Result>(
    resource: AsyncResource,
    callback: (this: This, ...parameters: Parameters) => Result,
    self: This,
    ...parameters: Parameters
  ): Result {
    const result = resource.runInAsyncScope(callback, self, ...parameters)
    runTicks()
    return result
  }

  /** After a call of C++, which may have called the program: what that has put off. */
  tick(): void {
    runTicks()
  }

  opened(handle: Open): void {
    this.#open.add(handle)
  }

  closed(handle: Open): void {
    this.#open.delete(handle)
    if (this.#open.size === 0) this.files.clear()
  }

  readonly #finish = (): void => {
    const word = new Int32Array(new SharedArrayBuffer(4))
    const endUs = this.clock.now() + EXIT_LINGER_MS * 1000
    while (!this.#canEnd() && this.clock.now() < endUs) Atomics.wait(word, 0, 0, EXIT_LOOK_MS)
    for (const handle of this.#open) handle.abandon()
    this.lingering.clear()
    this.files.clear()
  }

  #canEnd(): boolean {
    for (const handle of this.#open) if (!handle.canEnd()) return false
    return this.lingering.canEnd()
  }

  #makeRoom(length: number): Room {
    const bytes = Buffer.allocUnsafeSlow(length)
    return { bytes, pointer: this.system.pointer(bytes) }
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    // Not at once: libuv's callback, as koffi passes it on, is no place for exceptions, nor for what a program puts off.
    setImmediate(this.#deliver)
  }

  readonly #deliver = (): void => {
    this.#isScheduled = false
    const ready = this.#ready
    this.#ready = []
    let told = 0
    try {
      while (told < ready.length) {
        const handle = ready[told++]!
        handle.queued = false
        handle.deliver()
      }
    } finally {
      if (told < ready.length) {
        // A program has thrown. The others have their turn when the event loop has dealt with that.
        this.#ready = ready.slice(told).concat(this.#ready)
        this.#schedule()
      }
    }
  }
}
