// Threads of the machine: a generator each, run by its CPU until it waits. `yield*` marks every place where a thread
// may lose the CPU; between two of them nothing else runs there, which is LWKT's critical section for free.
//
// A JavaScript stack cannot leave its worker, so what crosses CPUs is a program's name and a number: `start` on
// another CPU, and `migrate`, after which the same thread, with its port and signals, begins its program anew over there.
import { assert } from '../base/assert.ts'
import { writeText } from '../base/bytes.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { hashName } from '../base/hash.ts'
import { Limits } from '../base/limits.ts'
import { type Address, bytes, struct, u32 } from '../base/struct.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import { THREAD_BYTES } from './layout.ts'
import { EASYNC } from './message.ts'
import type { Port, PortId } from './port.ts'
import { PortKind } from './port.ts'
import { isPending } from './signal.ts'
import type { Token } from './token.ts'
import type { TraceId } from './trace/record.ts'
import { HOP } from './trace/tracer.ts'

/** A thread's number: the same on every CPU, kept when it moves, and used again when it has ended. */
export type ThreadId = number

/** What a thread runs. It gives up the CPU only at `yield*`. */
export type Program = (thread: Thread, argument: number) => Generator<void, void, void>

const programs = new Map<number, { readonly name: string; readonly run: Program }>()

/** Registers a program under a name, so that other CPUs can start it and threads that run it can move. At module level. */
export function program(name: string, run: Program): Program {
  assert(!programs.has(hashName(name)), 'each program has a name of its own')
  programs.set(hashName(name), { name, run })
  return run
}

const NAME_BYTES = 20

/** Seen by all CPUs. */
const ThreadRecord = struct({
  home: u32, //      0  1 + the CPU; 0 when it has ended or never was
  program: u32, //   4
  port: u32, //      8
  state: u32, //    12  ThreadState, for who looks from outside
  channel: u32, //  16
  switches: u32, // 20
  waitsFor: u32, // 24  the message of the call that it waits in
  argument: u32, // 28  from here on: what a thread that moves takes with it
  pending: u32, //  32
  mask: u32, //     36
  priority: u32, // 40
  name: bytes(NAME_BYTES), // 44  as much of it as fits, for who looks from outside
})
assert(ThreadRecord.size === THREAD_BYTES, 'a thread record is 64 bytes')
const AT = ThreadRecord.offset
/** The record's layout, for who looks from outside (trace/waits.ts). */
export const ThreadRecordOffset = AT

export const ThreadState = { ready: 1, running: 2, waiting: 3, sleeping: 4, polling: 5, ended: 6 } as const
export type ThreadState = (typeof ThreadState)[keyof typeof ThreadState]

export interface WaitOptions {
  /** Return early, with 0 or EINTR, when a signal is pending. Default false. */
  readonly catchSignals?: boolean
  /** Return early, with 0 or ETIMEDOUT, after so many µs. Default: never. */
  readonly timeoutUs?: number
}

export class Thread {
  readonly cpu: Cpu
  readonly id: ThreadId
  readonly name: string
  readonly port: Port
  /** 0 (served first) to 3. */
  readonly priority: number
  /** Signals that came and were not taken, a bit each. */
  pending = 0
  /** Signals that do not interrupt now. */
  mask = 0
  state: ThreadState = ThreadState.ready
  generator: Generator<void, void, void> | undefined = undefined
  /** It is in a wait that a signal may end. */
  interruptible = false
  /** What it does was caused by this record (trace/tracer.ts). */
  trace = 0
  /** It is on a channel's queue. */
  sleepsOn: number | undefined = undefined
  /** Held while it runs; given up whenever it waits. */
  readonly tokens: Token[] = []
  /** The channel of an `interlock` that no sleep has followed yet, also when its wakeup has come. */
  #interlocked: number | undefined = undefined
  readonly #record: Address

  constructor(cpu: Cpu, id: ThreadId, name: string, port: Port, priority: number) {
    this.cpu = cpu
    this.id = id
    this.name = name
    this.port = port
    this.priority = priority
    this.#record = cpu.memory.layout.threads + id * THREAD_BYTES
  }

  /** Lets the other threads of this CPU run. */
  *pause(): Generator<void, void, void> {
    this.cpu.threads.makeReady(this)
    yield
  }

  /** Runs again when `condition` holds; it is looked at once a turn, so that the CPU does not sleep meanwhile. */
  *until(condition: () => boolean): Generator<void, void, void> {
    while (!condition()) {
      this.state = ThreadState.polling
      this.cpu.threads.poll(this)
      yield
    }
  }

  /** Lets `us` microseconds pass. */
  *delay(us: number): Generator<void, void, void> {
    let over = false
    this.cpu.timers.after(us, () => {
      over = true
      this.#overslept()
      this.cpu.threads.wake(this)
    })
    while (!over) yield* this.#block(ThreadState.waiting)
  }

  /** The next message at `port` (default: the thread's own), waiting for it. 0 when a signal or the time ended the wait. */
  *wait(options: WaitOptions = {}, port: Port = this.port): Generator<void, Address, void> {
    this.cpu.ports.serveBy(port, this)
    const timer = this.#timeout(options)
    for (;;) {
      const message = this.cpu.ports.get(port)
      if (message !== 0 || timer.over || (options.catchSignals === true && isPending(this))) {
        timer.cancel()
        return message
      }
      this.interruptible = options.catchSignals === true
      yield* this.#block(ThreadState.waiting)
      this.interruptible = false
    }
  }

  /**
   * Serves the handlers of ports that were given to this thread (`Ports.handTo`), for ever. `ports` may become more meanwhile.
   * What one of them puts into another that stands behind it is served in the same turn.
   */
  *serve(ports: readonly Port[]): Generator<void, void, void> {
    for (;;) {
      let left = 0
      for (let i = 0; i < ports.length; i++) this.cpu.ports.serveOne(ports[i]!)
      for (let i = 0; i < ports.length; i++) left += this.cpu.ports.depth(ports[i]!)
      if (left > 0) yield* this.pause()
      else yield* this.#block(ThreadState.waiting)
    }
  }

  /** The next message at the thread's port if there is one, else 0. */
  get(): Address {
    return this.cpu.ports.get(this.port)
  }

  /**
   * Calls: sends and waits for the answer, 0 or an errno; the message is then the caller's again. With `catchSignals` a
   * signal asks once for the message's abort; the wait then goes on until the target has answered, whatever it does.
   */
  *call(port: PortId, message: Address, options: WaitOptions = {}): Generator<void, number, void> {
    this.cpu.ports.setReplyPort(message, this.port.id)
    this.cpu.ports.serveBy(this.port, this)
    const code = this.cpu.ports.begin(port, message)
    return code === EASYNC ? yield* this.waitMessage(message, options) : code
  }

  /** Waits until `message`, which this thread sent, is done. Returns its error. */
  *waitMessage(message: Address, options: WaitOptions = {}): Generator<void, number, void> {
    const { ports } = this.cpu
    let aborted = false
    this.cpu.memory.i32[(this.#record + AT.waitsFor) >> 2] = message
    while (!ports.isDone(message)) {
      if (!aborted && options.catchSignals === true && isPending(this)) {
        aborted = true
        ports.abort(message)
        continue
      }
      this.interruptible = options.catchSignals === true && !aborted
      yield* this.#block(ThreadState.waiting)
      this.interruptible = false
    }
    this.cpu.memory.i32[(this.#record + AT.waitsFor) >> 2] = 0
    if (this.cpu.tracer.isSet) this.cpu.tracer.resume(this.cpu.tracer.of(message))
    return ports.error(message)
  }

  /** Puts the thread on the channel's queue before it sleeps: a wakeup from here on ends the sleep that follows. */
  interlock(channel: number): void {
    this.#leaveChannel()
    // As it travels in an IPI: the same number on every CPU.
    const on = channel | 0
    this.sleepsOn = on
    this.#interlocked = on
    this.cpu.memory.i32[(this.#record + AT.channel) >> 2] = on
    this.cpu.sleepQueue.add(this, on)
  }

  /**
   * Sleeps until `wakeup(channel)`. Returns 0, EINTR or ETIMEDOUT. After `interlock` on the same channel it returns at
   * once when the wakeup has come already.
   */
  *sleep(channel: number, options: WaitOptions = {}): Generator<void, number, void> {
    if (this.#interlocked !== (channel | 0)) this.interlock(channel)
    this.cpu.count[K.threadSleeps]!++
    const timer = this.#timeout(options)
    let result = 0
    while (this.sleepsOn !== undefined) {
      if (options.catchSignals === true && isPending(this)) result = Errno.EINTR
      else if (timer.over) result = Errno.ETIMEDOUT
      if (result !== 0) {
        this.#leaveChannel()
        break
      }
      this.interruptible = options.catchSignals === true
      yield* this.#block(ThreadState.sleeping)
      this.interruptible = false
    }
    timer.cancel()
    this.#interlocked = undefined
    this.cpu.memory.i32[(this.#record + AT.channel) >> 2] = 0
    return result
  }

  /** Takes back an `interlock` that no sleep follows. */
  disinterlock(): void {
    this.#leaveChannel()
    this.#interlocked = undefined
    this.cpu.memory.i32[(this.#record + AT.channel) >> 2] = 0
  }

  /** Takes the lowest pending signal, or returns -1. */
  takeSignal(): number {
    const bits = this.pending & ~this.mask
    if (bits === 0) return -1
    const number = 31 - Math.clz32(bits & -bits)
    this.pending &= ~(1 << number)
    return number
  }

  /**
   * Waits until every IPI that this CPU has sent so far has been carried out, on all CPUs: what a producer does
   * before it goes on elsewhere.
   */
  *synchronize(): Generator<void, void, void> {
    const { ipi, memory, index } = this.cpu
    const marks: { target: number; mark: number }[] = []
    for (let target = 0; target < memory.layout.cpus; target++) {
      if (target === index) continue
      const mark = ipi.mark(target)
      if (!ipi.done(target, mark)) marks.push({ target, mark })
    }
    if (marks.length === 0) return
    ipi.flush()
    for (const { target } of marks) ipi.flushTo(target)
    yield* this.until(() => marks.every(({ target, mark }) => ipi.done(target, mark)))
  }

  /** Runs a registered function on `target` and waits until it has returned (a blocking IPI). */
  *run(target: number, id: number, a = 0, b = 0, c = 0): Generator<void, void, void> {
    const { ipi, index } = this.cpu
    ipi.send(target, id, a, b, c)
    if (target === index) return
    const mark = ipi.mark(target)
    ipi.flush()
    yield* this.until(() => ipi.done(target, mark))
  }

  /**
   * Goes on as the same thread on `target`: its program begins anew there, with `argument`, which is how its state
   * travels (an address). Its port moves with it, in order, while all CPUs are held. Use as `return yield* thread.migrate(…)`:
   * nothing after it runs.
   * @throws KernelError EINVAL where the thread's program has no registered name, or there is no such CPU
   */
  *migrate(target: number, argument: number): Generator<void, void, void> {
    const { cpu } = this
    const { threads } = cpu
    if (!(target >= 0 && target < cpu.memory.layout.cpus)) {
      throw new KernelError(
        Errno.EINVAL,
        `there is no cpu ${target}: this machine has 0 to ${cpu.memory.layout.cpus - 1}`,
        'migrate',
      )
    }
    if (!threads.isRegistered(this.name)) {
      const sentence = `thread "${this.name}" cannot move: its program is not registered by program(name, …)`
      throw new KernelError(Errno.EINVAL, sentence, 'migrate')
    }
    if (target === cpu.index) return threads.restart(this, argument)
    assert(this.tokens.length === 0, 'a thread holds no token when it moves')
    // What it has sent must be there before what it will send, which is the lesson of order: each CPU says that it is held
    // only when it has read the ring up to the question, so all of it is there.
    yield* cpu.cpusync.hold(this)
    // Nothing is under way to the port now. It changes its home, and the thread goes after it. The others are let go when
    // it is there: what they then send would else overtake it.
    const { tracer } = cpu
    if (tracer.on) tracer.current = tracer.note(HOP.migrate, tracer.label(`cpu ${target}`), 0, this.migrate)
    threads.leave(this, target, argument)
    const mark = cpu.ipi.mark(target)
    cpu.ipi.flush()
    yield* this.until(() => cpu.ipi.done(target, mark))
    yield* cpu.cpusync.release()
    cpu.threads.departed(this)
  }

  toString(): string {
    return `thread ${this.id} "${this.name}"`
  }

  *#block(state: ThreadState): Generator<void, void, void> {
    this.state = state
    yield
  }

  #leaveChannel(): void {
    if (this.sleepsOn !== undefined) this.cpu.sleepQueue.remove(this, this.sleepsOn)
    this.sleepsOn = undefined
  }

  /** Its time is over, in the timer's own time. */
  #overslept(): void {
    if (this.cpu.tracer.isSet) this.trace = this.cpu.tracer.sleptSince(this.trace)
  }

  #timeout(options: WaitOptions): { over: boolean; cancel: () => void } {
    if (options.timeoutUs === undefined) return NO_TIMEOUT
    const timer = { over: false, cancel: () => {} }
    const cancel = this.cpu.timers.after(options.timeoutUs, () => {
      timer.over = true
      timer.cancel = () => {}
      this.#overslept()
      this.cpu.threads.wake(this)
    })
    timer.cancel = cancel
    return timer
  }
}

const NO_TIMEOUT = { over: false, cancel: () => {} }

/** One CPU's threads and their run queues. */
export class Threads {
  readonly #cpu: Cpu
  readonly #i32: Int32Array
  readonly #local = new Map<ThreadId, Thread>()
  readonly #ready: Thread[][] = [[], [], [], []]
  #readyCount = 0
  #polling: Thread[] = []
  #current: Thread | undefined = undefined
  /** Each CPU has numbers of its own to give; they come back to it, wherever the thread ends. */
  readonly #freeIds: ThreadId[] = []
  #nextId: ThreadId

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#i32 = cpu.memory.i32
    this.#nextId = cpu.index * Limits.threadsPerCpu
  }

  /** The thread that runs now, if one does. */
  get current(): Thread | undefined {
    return this.#current
  }

  get size(): number {
    return this.#local.size
  }

  /** All threads of this CPU. */
  list(): readonly Thread[] {
    return [...this.#local.values()]
  }

  /** Starts a thread here. Its program need not be registered, but then it cannot move. */
  start(name: string, run: Program, argument = 0, priority = 1): Thread {
    // The port first: when there is none left no number is lost.
    const port = this.#cpu.ports.create({})
    const thread = this.#make(this.#newId(), name, port, priority)
    this.#cpu.count[K.threadsStarted]!++
    this.#begin(thread, run, argument)
    const { tracer } = this.#cpu
    if (tracer.on) thread.trace = tracer.note(HOP.thread, tracer.label(name), 0, this.start)
    return thread
  }

  /**
   * Starts a registered program on any CPU. Returns the new thread's number.
   * @throws KernelError ENOENT where no program has this name here, EINVAL where there is no such CPU
   */
  startOn(target: number, name: string, argument = 0): ThreadId {
    const hash = hashName(name)
    if (!programs.has(hash)) {
      const known = [...programs.values()].map((entry) => `"${entry.name}"`).join(', ') || 'none'
      throw new KernelError(Errno.ENOENT, `unknown program "${name}": registered are ${known}`, 'start')
    }
    const { cpus } = this.#cpu.memory.layout
    if (!(target >= 0 && target < cpus)) {
      throw new KernelError(Errno.EINVAL, `there is no cpu ${target}: this machine has 0 to ${cpus - 1}`, 'start')
    }
    if (target === this.#cpu.index) return this.start(name, programs.get(hash)!.run, argument).id
    const id = this.#newId()
    Atomics.store(this.#i32, this.#word(id, AT.home), 1 + target)
    this.#cpu.ipi.send(target, START, id, hash, argument)
    return id
  }

  /** Makes a thread run again that waits, on whatever CPU it is. */
  schedule(id: ThreadId): void {
    const home = this.home(id)
    if (home >= 0) this.#cpu.ipi.send(home, SCHEDULE, id)
  }

  /** The CPU that a thread is on, or -1 when it has ended. */
  home(id: ThreadId): number {
    return Atomics.load(this.#i32, this.#word(id, AT.home)) - 1
  }

  local(id: ThreadId): Thread | undefined {
    return this.#local.get(id)
  }

  isRegistered(name: string): boolean {
    return programs.has(hashName(name))
  }

  /** Resumes ready threads, one time slice each, highest priority first. Returns how many. */
  run(): number {
    if (this.#polling.length > 0) this.#wakePolling()
    let count = 0
    for (const queue of this.#ready) {
      // Who becomes ready again meanwhile has its turn in the next one: a thread that only pauses, for a token perhaps,
      // leaves time to those below it.
      for (let left = queue.length; left > 0 && count < Limits.threadBatch; left--) {
        this.#readyCount--
        count++
        this.#resume(queue.shift()!)
      }
    }
    return count
  }

  /** Whether a thread could run now, or asks each turn whether it could. */
  get busy(): boolean {
    return this.#readyCount > 0 || this.#polling.length > 0
  }

  makeReady(thread: Thread): void {
    if (thread.state === ThreadState.ready || thread.state === ThreadState.ended) return
    thread.state = ThreadState.ready
    this.#ready[thread.priority]!.push(thread)
    this.#readyCount++
  }

  /** Something happened that the thread may wait for. It looks at its condition itself. */
  wake(thread: Thread): void {
    if (thread.state === ThreadState.waiting || thread.state === ThreadState.sleeping) this.makeReady(thread)
  }

  /** A wakeup took the thread off its channel. */
  wokenUp(thread: Thread): void {
    thread.sleepsOn = undefined
    this.wake(thread)
  }

  /** A signal came: ends a wait that may be ended. */
  interrupt(thread: Thread): void {
    if (thread.interruptible) this.wake(thread)
  }

  poll(thread: Thread): void {
    this.#polling.push(thread)
  }

  /** A thread comes here: started from elsewhere, or moving. */
  arrive(id: ThreadId, hash: number, argument: number): void {
    const entry = programs.get(hash)
    assert(entry !== undefined, 'a thread was started with a program that is not registered on this CPU')
    const thread = this.#make(id, entry.name, this.#cpu.ports.create({}), 1)
    thread.pending = this.#cpu.signals.takeEarly(id)
    this.#cpu.count[K.threadsStarted]!++
    this.#begin(thread, entry.run, argument)
  }

  /** The thread that moves away gives up its port; both go to `target`. While all CPUs are held. */
  leave(thread: Thread, target: number, argument: number): void {
    const { port } = thread
    this.#cpu.ports.release(port)
    // What this CPU sends to both from here on goes after them, by the same ring.
    Atomics.store(this.#i32, (this.#cpu.memory.layout.portHomes >> 2) + port.id, (PortKind.thread << 16) | target)
    Atomics.store(this.#i32, this.#word(thread.id, AT.home), 1 + target)
    this.#i32[this.#word(thread.id, AT.argument)] = argument
    this.#i32[this.#word(thread.id, AT.pending)] = thread.pending
    this.#i32[this.#word(thread.id, AT.mask)] = thread.mask
    this.#i32[this.#word(thread.id, AT.priority)] = thread.priority
    this.#local.delete(thread.id)
    this.#cpu.count[K.threadsMigrated]!++
    this.#cpu.ipi.send(target, MOVE, thread.id, hashName(thread.name), port.id)
  }

  /** The other end of `leave`. */
  moveIn(id: ThreadId, hash: number, portId: PortId): void {
    const entry = programs.get(hash)
    assert(entry !== undefined, 'a thread moved to a CPU where its program is not registered')
    const port = this.#cpu.ports.moveIn(portId)
    const thread = this.#make(id, entry.name, port, this.#i32[this.#word(id, AT.priority)]!)
    thread.pending = this.#i32[this.#word(id, AT.pending)]! | this.#cpu.signals.takeEarly(id)
    thread.mask = this.#i32[this.#word(id, AT.mask)]!
    this.#begin(thread, entry.run, this.#i32[this.#word(id, AT.argument)]!)
  }

  /** Begins the thread's program anew on the same CPU. */
  restart(thread: Thread, argument: number): void {
    const entry = programs.get(hashName(thread.name))
    assert(entry !== undefined, 'only a registered program begins anew')
    thread.generator = entry.run(thread, argument)
    thread.state = ThreadState.waiting
    this.makeReady(thread)
  }

  /** The generator of a thread that has moved away is over. */
  departed(thread: Thread): void {
    thread.state = ThreadState.ended
    thread.generator = undefined
  }

  /** Ends all threads: their `finally` blocks run. For the machine's stop. What the first of them threw is thrown when all have run. */
  endAll(): void {
    const thrown: unknown[] = []
    for (const thread of this.#local.values()) {
      const { generator } = thread
      thread.generator = undefined
      if (thread === this.#current) continue
      try {
        generator?.return()
      } catch (error) {
        thrown.push(error)
      }
    }
    if (thrown.length > 0) throw thrown[0]
  }

  #make(id: ThreadId, name: string, port: Port, priority: number): Thread {
    assert(priority >= 0 && priority < this.#ready.length, 'a priority is 0 to 3')
    const thread = new Thread(this.#cpu, id, name, port, priority)
    this.#local.set(id, thread)
    this.#i32[this.#word(id, AT.port)] = port.id
    this.#i32[this.#word(id, AT.program)] = hashName(name)
    const record = this.#cpu.memory.layout.threads + id * THREAD_BYTES
    const { u8 } = this.#cpu.memory
    u8.fill(0, record + AT.name, record + THREAD_BYTES)
    writeText(u8, record + AT.name, name, NAME_BYTES)
    Atomics.store(this.#i32, this.#word(id, AT.home), 1 + this.#cpu.index)
    return thread
  }

  #begin(thread: Thread, run: Program, argument: number): void {
    thread.trace = this.#cpu.tracer.current
    this.#cpu.ports.serveBy(thread.port, thread)
    thread.generator = run(thread, argument)
    thread.state = ThreadState.waiting
    this.makeReady(thread)
  }

  #resume(thread: Thread): void {
    const { generator } = thread
    // The machine was stopped from within this turn.
    if (generator === undefined) return
    if (!this.#takeTokens(thread)) {
      thread.state = ThreadState.waiting
      this.makeReady(thread)
      return
    }
    thread.state = ThreadState.running
    this.#current = thread
    this.#cpu.count[K.contextSwitches]!++
    if (this.#local.get(thread.id) === thread) this.#i32[this.#word(thread.id, AT.switches)]!++
    const { tracer } = this.#cpu
    if (tracer.isSet) tracer.resume(thread.trace)
    const { done } =
      !tracer.on || tracer.tasks === undefined
        ? generator.next()
        : tracer.run(this.#wakerOf(thread), () => generator.next())
    // In mode off this is 0, and what it was before is forgotten.
    thread.trace = tracer.current
    tracer.current = 0
    this.#current = undefined
    for (let i = thread.tokens.length - 1; i >= 0; i--) thread.tokens[i]!.suspend(this.#cpu)
    // `restart` has given it another generator: only the one that was run can be over.
    if (done === true && thread.generator === generator) this.#end(thread)
    // The record of a thread that has moved is its new CPU's.
    if (this.#local.get(thread.id) === thread) this.#i32[this.#word(thread.id, AT.state)] = thread.state
  }

  /** The hop by which a thread runs again: the answer or the message that it waited for, or what it was last given. For a debugger. */
  #wakerOf(thread: Thread): TraceId {
    const { ports, tracer } = this.#cpu
    const answered = this.#i32[this.#word(thread.id, AT.waitsFor)]!
    if (answered !== 0) return ports.isDone(answered) ? tracer.of(answered) : thread.trace
    const [message] = ports.queued(thread.port.id, 1)
    return message === undefined ? thread.trace : tracer.of(message)
  }

  /** Tokens were given up when the thread waited: it runs again only with all of them. */
  #takeTokens(thread: Thread): boolean {
    for (let i = 0; i < thread.tokens.length; i++) {
      if (thread.tokens[i]!.resume(this.#cpu)) continue
      for (let k = i - 1; k >= 0; k--) thread.tokens[k]!.suspend(this.#cpu)
      return false
    }
    return true
  }

  #end(thread: Thread): void {
    assert(thread.tokens.length === 0, 'a thread gives back its tokens before it ends')
    thread.state = ThreadState.ended
    this.#local.delete(thread.id)
    this.#cpu.ports.close(thread.port)
    this.#cpu.count[K.threadsExited]!++
    this.#i32[this.#word(thread.id, AT.state)] = ThreadState.ended
    Atomics.store(this.#i32, this.#word(thread.id, AT.home), 0)
    const giver = Math.floor(thread.id / Limits.threadsPerCpu)
    if (giver === this.#cpu.index) this.#freeIds.push(thread.id)
    else this.#cpu.ipi.sendPassive(giver, FREE_ID, thread.id)
  }

  /** A number that this CPU gave is free again. */
  freeId(id: ThreadId): void {
    this.#freeIds.push(id)
  }

  #wakePolling(): void {
    const polling = this.#polling
    this.#polling = []
    for (const thread of polling) {
      thread.state = ThreadState.waiting
      this.makeReady(thread)
    }
  }

  #newId(): ThreadId {
    const free = this.#freeIds.pop()
    if (free !== undefined) return free
    if (this.#nextId === (this.#cpu.index + 1) * Limits.threadsPerCpu) {
      const sentence = `cpu ${this.#cpu.index} has started ${Limits.threadsPerCpu} threads that have not ended, which is the limit: end some`
      throw new KernelError(Errno.ENFILE, sentence, 'start')
    }
    return this.#nextId++
  }

  #word(id: ThreadId, offset: number): number {
    return (this.#cpu.memory.layout.threads + id * THREAD_BYTES + offset) >> 2
  }
}

const START = define('thread.start', (cpu, id, hash, argument) => cpu.threads.arrive(id, hash >>> 0, argument))
const MOVE = define('thread.move', (cpu, id, hash, port) => cpu.threads.moveIn(id, hash >>> 0, port))
const SCHEDULE = define('thread.schedule', (cpu, id) => {
  const thread = cpu.threads.local(id)
  if (thread !== undefined) cpu.threads.wake(thread)
  // It has moved: after it. One that is still on its way here begins ready.
  else if (cpu.threads.home(id) !== cpu.index) cpu.threads.schedule(id)
})
const FREE_ID = define('thread.freeId', (cpu, id) => cpu.threads.freeId(id))
