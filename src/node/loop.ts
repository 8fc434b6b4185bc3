// Where a CPU on this thread's event loop meets Node's modules. The stack's callbacks come inside turns of the CPU; they only mark
// their handle, and after the turn the handle calls its program: one callback after the other, each in the async scope of its handle
// and with process.nextTick and promises run behind it, as Node itself does after each event of libuv.
//
// Here is also counted what keeps the process alive: handles that wait for something, as libuv counts them.
import type { AsyncResource } from 'node:async_hooks'
import { assert } from '../base/assert.ts'
import type { Cpu } from '../kernel/cpu.ts'
import type { TraceId } from '../kernel/trace/record.ts'
import type { Tracer } from '../kernel/trace/tracer.ts'
import { EventLoopDriver } from '../machine/eventloop.ts'
import { runTicks } from './binding.ts'
import { NativeCallbacks } from './native-callbacks.ts'
import { ReadSlab } from './slab.ts'

/** A handle that has something to tell its program. */
export interface Deliverable {
  /** On the list of those. For NodeLoop alone. */
  queued: boolean
  /** What the first thing that it has to tell was caused by, where that is traced. For NodeLoop alone. */
  trace: TraceId
  /** Calls the program, outside of turns. What the program throws passes through; the rest is told later. */
  deliver(): void
}

/** A handle that is not closed. */
export interface Open {
  /** Of net.js and dgram.js, by an accessor that they put on the prototype: the socket or server. */
  readonly owner?: { destroy?(): void; close?(): void } | null
  close(): void
  /** The process ends: what the kernel does with a descriptor that was left open. Called twice, with a turn between. */
  abandon(): void
}

/** How long a call waits for an answer of its own host: a bind on all of its CPUs, which takes microseconds. */
const ANSWER_MS = 2000
/** How long the end of the process waits until the peers have what was sent to them. */
const LINGER_MS = 1000
/** Between two looks then. */
const LINGER_LOOK_MS = 0.2
/** A timer that never fires: about 24 days is the longest that Node takes. */
const NEVER_MS = 2 ** 31 - 1
/** Bytes that a handle reads with one call at most, as libuv does; strings are encoded in as many. */
export const READ_BYTES = 65536

export class NodeLoop {
  readonly cpu: Cpu
  readonly driver: EventLoopDriver
  readonly slab = new ReadSlab()
  readonly callbacks = new NativeCallbacks()
  /** Bytes on their way between the stack and Node's C++: good until the next call. */
  readonly readScratch = Buffer.allocUnsafeSlow(READ_BYTES)
  /** Strings are encoded here. */
  readonly writeScratch = Buffer.allocUnsafeSlow(READ_BYTES)
  readonly #tracer: Tracer
  /** What each connection that waits to be told was caused by: a server is told of several at once. */
  readonly #causes = new WeakMap<object, TraceId>()
  readonly #open = new Set<Open>()
  /** What was given to the stack, and may not have left. */
  readonly #lingering = new Set<{ readonly unsentBytes: number }>()
  #ready: Deliverable[] = []
  #spare: Deliverable[] = []
  #holds = 0
  readonly #alive: NodeJS.Timeout

  private constructor(cpu: Cpu, driver: EventLoopDriver) {
    this.cpu = cpu
    this.driver = driver
    this.#tracer = cpu.tracer
    this.#alive = setInterval(() => {}, NEVER_MS).unref()
    driver.addProgram(() => this.#deliver())
    // What keeps the process alive are the handles that somebody has; not the stack's timers, nor its devices.
    driver.unref()
    cpu.onStop(() => clearInterval(this.#alive))
  }

  /** The one of a CPU, which must be on this thread's event loop. */
  static of(cpu: Cpu): NodeLoop {
    const driver = EventLoopDriver.of(cpu)
    assert(driver !== undefined, 'handles of Node are for a CPU on an event loop')
    return cpu.slot(SLOT, () => new NodeLoop(cpu, driver))
  }

  /** To be called before anything is asked of the stack from the program's side. */
  enter(): void {
    this.driver.enter()
  }

  /** `handle` has something to tell. Inside a turn, or outside. */
  queue(handle: Deliverable): void {
    if (handle.queued) return
    handle.queued = true
    if (this.#tracer.isSet) handle.trace = this.#tracer.current
    this.#ready.push(handle)
    this.driver.schedule()
  }

  /** A connection has come, which a handle will tell of: what runs now has caused that. */
  came(connection: object): void {
    if (this.#tracer.isSet) this.#causes.set(connection, this.#tracer.current)
  }

  /** From here on the program is told of a connection. */
  toldOf(connection: object): void {
    if (this.#tracer.isSet) this.#tracer.current = this.#causes.get(connection) ?? this.#tracer.current
  }

  /** Calls a function of the program in the scope of `resource`, and then what that has put off. */
  call<This, Parameters extends unknown[], Result>(
    resource: AsyncResource,
    callback: (this: This, ...parameters: Parameters) => Result,
    self: This,
    ...parameters: Parameters
  ): Result {
    const result =
      this.#tracer.on && this.#tracer.tasks !== undefined
        ? this.#callShown(resource, () => Reflect.apply(callback, self, parameters) as Result)
        : resource.runInAsyncScope(callback, self, ...parameters)
    runTicks()
    return result
  }

  /** For a debugger the callback comes from what it tells, and not from where its handle was made. */
  #callShown<Result>(resource: AsyncResource, call: () => Result): Result {
    return resource.runInAsyncScope(() => this.#tracer.run(this.#tracer.current, call))
  }

  /** After a call of C++, which may have called the program: what that has put off. */
  tick(): void {
    runTicks()
  }

  /** Waits for an answer of the own host, as for a system call. Returns whether it came. */
  wait(answered: () => boolean): boolean {
    if (answered()) return true
    // The turns meanwhile do what others have caused.
    const tracer = this.#tracer
    const { current } = tracer
    tracer.current = 0
    const isAnswered = this.driver.wait(answered, ANSWER_MS)
    if (tracer.isSet) tracer.current = current
    return isAnswered
  }

  /** The process stays while anybody holds it. */
  hold(): void {
    if (this.#holds++ === 0) this.#alive.ref()
  }

  release(): void {
    assert(this.#holds > 0, 'what is released was held')
    if (--this.#holds === 0) this.#alive.unref()
  }

  opened(handle: Open): void {
    this.#open.add(handle)
  }

  closed(handle: Open): void {
    this.#open.delete(handle)
  }

  /** A socket that its program has closed, until the stack is done with it. */
  linger(socket: { readonly unsentBytes: number }): void {
    this.#lingering.add(socket)
  }

  lingered(socket: { readonly unsentBytes: number }): void {
    this.#lingering.delete(socket)
  }

  /**
   * The end of the process: handles that were left open are closed, as the kernel would close their descriptors, and what was
   * sent before gets some time to leave. Nobody's program is called any more.
   */
  finish(): void {
    const word = new Int32Array(new SharedArrayBuffer(4))
    const looks = (enough: number, done: () => boolean) => {
      let count = 0
      this.driver.wait(() => {
        if (++count > 2) Atomics.wait(word, 0, 0, LINGER_LOOK_MS)
        return count > enough && done()
      }, LINGER_MS)
    }
    for (const handle of this.#open) handle.abandon()
    // What was sent before a reset is sent in a turn before it.
    looks(1, () => true)
    for (const handle of this.#open) handle.abandon()
    this.#open.clear()
    // Some turns in any case: for what a socket without data still has to say, FIN or RST.
    looks(3, () => {
      for (const socket of this.#lingering) if (socket.unsentBytes > 0) return false
      return true
    })
  }

  #deliver(): number {
    const ready = this.#ready
    if (ready.length === 0) return 0
    this.#ready = this.#spare
    let told = 0
    try {
      while (told < ready.length) {
        const handle = ready[told++]!
        handle.queued = false
        if (this.#tracer.isSet) this.#deliverTraced(handle)
        else handle.deliver()
      }
      return told
    } finally {
      if (told < ready.length) {
        // A program has thrown. The others have their turn when the event loop has dealt with that.
        this.#ready = ready.slice(told).concat(this.#ready)
        this.#spare = []
      } else {
        ready.length = 0
        this.#spare = ready
      }
    }
  }

  /** What the program does, also behind its callbacks, it does because of what its handle has to tell. */
  #deliverTraced(handle: Deliverable): void {
    const tracer = this.#tracer
    const { trace } = handle
    tracer.current = trace
    handle.trace = 0
    let isThrown = true
    try {
      if (tracer.tasks === undefined) handle.deliver()
      else tracer.run(trace, () => handle.deliver())
      isThrown = false
    } finally {
      tracer.current = 0
      if (isThrown && trace > 0) this.#explainNext(trace)
    }
  }

  /**
   * A program has thrown because of `trace`: Node tells the error in a moment. It is explained then, and not caught here, since whoever catches and
   * throws it again takes its place in the source from what Node prints.
   */
  #explainNext(trace: TraceId): void {
    const tracer = this.#tracer
    const explain = (error: unknown) => {
      const { current } = tracer
      tracer.current = trace
      tracer.explain(error)
      tracer.current = current
    }
    process.prependOnceListener('uncaughtExceptionMonitor', explain)
    setImmediate(() => process.off('uncaughtExceptionMonitor', explain))
  }
}

const SLOT = Symbol('node loop')
