// How a CPU with descriptors sleeps. On a thread of its own it blocks in poll(2), on its devices' descriptors and an
// eventfd that the other CPUs ring (`ensureSleeper`). On an event loop nothing may block: there the loop itself
// watches the descriptors and has the CPU scheduled (`watchDescriptor`). `awaitDescriptor` takes whichever fits.
// Called when a device is opened, and `sleep` by the host (src/machine/worker.ts).
import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { Errno, KernelError } from '../base/errno.ts'
import { counterSet } from '../kernel/counters.ts'
import type { Cpu, Sleeper } from '../kernel/cpu.ts'
import { CpuState } from '../kernel/cpustate.ts'
import { EventLoopDriver, type Referable } from '../machine/eventloop.ts'
import { closeEventfd, drain, openEventfd } from './linux/eventfd.ts'
import { type Libc, libc } from './linux/library.ts'
import { Poller } from './linux/poll.ts'

/** Descriptors of one CPU, its doorbell included. */
const DESCRIPTORS_MAX = 64
/** How long a close waits for a ring that was announced and has not come. */
const OWED_MS = 1000
/** How often descriptors are looked at where koffi cannot watch them. */
const WATCH_MS = 1

export const SleeperCounters = counterSet('sleeper', [
  /** Sleeps that ended because a device had something, because the doorbell rang, because the time was over. */
  'wokenByDevice',
  'wokenByDoorbell',
  'timedOut',
  /** Descriptors that were given up: closed, or their device removed. */
  'descriptorsFailed',
] as const)
const C = SleeperCounters.index

/** Blocks in poll(2). For a CPU that has a thread of its own. */
export class PollSleeper implements Sleeper {
  readonly doorbell: number
  readonly #cpu: Cpu
  readonly #system: Libc
  readonly #poller: Poller
  readonly #count: Float64Array
  readonly #slots = new Map<number, number>()
  readonly #bell: number
  /** Somebody has set out to ring and the ring was not heard yet. */
  #owed = false
  #closed = false

  /** @throws KernelError those of `libc` and `openEventfd` */
  constructor(cpu: Cpu, system: Libc = libc()) {
    this.#cpu = cpu
    this.#system = system
    this.#poller = new Poller(DESCRIPTORS_MAX, undefined, system)
    this.#count = cpu.counterPage.open(SleeperCounters)
    this.doorbell = openEventfd(system)
    this.#bell = this.#poller.add(this.doorbell)
  }

  /** From now on a sleep also ends when `descriptor` is readable. */
  add(descriptor: number): void {
    if (!this.#slots.has(descriptor)) this.#slots.set(descriptor, this.#poller.add(descriptor))
  }

  /** To be called before the descriptor is closed. */
  remove(descriptor: number): void {
    const slot = this.#slots.get(descriptor)
    if (slot === undefined || this.#closed) return
    this.#slots.delete(descriptor)
    this.#poller.remove(slot)
  }

  sleep(timeoutMs: number): void {
    const ready = this.#poller.wait(timeoutMs)
    const heard = ready > 0 && this.#poller.readable(this.#bell)
    if (heard) drain(this.doorbell, this.#system)
    // Who finds this CPU asleep makes its state word "running", and then writes to the doorbell. Word without ring: the
    // write is under way, and the descriptor must not be closed before it has come.
    if (Atomics.load(this.#cpu.memory.i32, this.#cpu.stateWord) === CpuState.running) this.#owed = !heard
    else if (heard) this.#owed = false
    if (ready > (heard ? 1 : 0)) {
      this.#count[C.wokenByDevice]!++
      this.#forgetFailed()
    }
    if (heard) this.#count[C.wokenByDoorbell]!++
    else if (ready <= 0) this.#count[C.timedOut]!++
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const slot of this.#slots.values()) this.#poller.remove(slot)
    this.#slots.clear()
    if (this.#owed) this.#poller.wait(OWED_MS)
    closeEventfd(this.doorbell, this.#system)
  }

  /** A descriptor that fails would end every sleep at once. */
  #forgetFailed(): void {
    for (const [descriptor, slot] of this.#slots) {
      if (!this.#poller.failed(slot) || this.#poller.readable(slot)) continue
      this.remove(descriptor)
      this.#count[C.descriptorsFailed]!++
    }
  }
}

/**
 * The CPU's sleeper, installed when it is first asked for. Only for a CPU that has a thread of its own: one on an event
 * loop never calls it, and would not hear its doorbell.
 * @throws KernelError EOPNOTSUPP on the main thread; those of `libc` and `openEventfd`
 */
export function ensureSleeper(cpu: Cpu): PollSleeper {
  if (isMainThread) {
    const sentence =
      'a CPU on an event loop does not block in poll(2): open the device with `kick`, so that the loop watches its descriptor'
    throw new KernelError(Errno.EOPNOTSUPP, sentence, 'poll')
  }
  return cpu.slot(SLOT, () => {
    const sleeper = new PollSleeper(cpu)
    cpu.setSleeper(sleeper)
    return sleeper
  })
}

const SLOT = Symbol('sleeper')

/** A descriptor that the event loop watches. It keeps the loop alive while it is referenced, as it is from the beginning. */
export interface Watch extends Referable {
  /** To be called before the descriptor is closed. */
  close(): void
}

interface KoffiNode {
  readonly node?: {
    poll?(descriptor: number, options: { readable: boolean }, callback: () => void): Watch
  }
}

/**
 * Calls `onReadable` from the event loop whenever `descriptor` is readable, once for each turn of the loop as long as it
 * stays so. By libuv, as koffi offers it (`koffi.node.poll`, since 2.15, not documented yet); where koffi does not, by a look each
 * millisecond.
 * @throws KernelError those of `libc`
 */
export function watchDescriptor(descriptor: number, onReadable: () => void): Watch {
  const watched = watchByLoop(descriptor, onReadable)
  return watched ?? watchByTimer(descriptor, onReadable)
}

function watchByLoop(descriptor: number, onReadable: () => void): Watch | undefined {
  // First, for its errors' sake: they say how to get koffi.
  libc()
  const { node } = createRequire(import.meta.url)('koffi') as KoffiNode
  if (node?.poll === undefined) return undefined
  const handle = node.poll(descriptor, { readable: true }, () => onReadable())
  // koffi's own handle must not be asked anything after its end.
  let open = true
  return {
    ref: () => {
      if (open) handle.ref()
    },
    unref: () => {
      if (open) handle.unref()
    },
    close: () => {
      if (open) handle.close()
      open = false
    },
  }
}

/** For tests, and for a koffi without `node.poll`. */
export function watchByTimer(descriptor: number, onReadable: () => void): Watch {
  const poller = new Poller(1)
  const slot = poller.add(descriptor)
  const timer = setInterval(() => {
    if (poller.wait(0) > 0 && poller.readable(slot)) onReadable()
  }, WATCH_MS)
  return {
    ref: () => void timer.ref(),
    unref: () => void timer.unref(),
    close: () => clearInterval(timer),
  }
}

/**
 * Has `cpu` woken when `descriptor` is readable, in the way that fits whoever runs it. The function that it gives ends that.
 * @param kick schedules the CPU, where it is on an event loop. Not needed: the loop's driver does it.
 * @throws KernelError as `ensureSleeper` and `watchDescriptor`
 */
export function awaitDescriptor(cpu: Cpu, descriptor: number, kick?: () => void): () => void {
  const driver = EventLoopDriver.of(cpu)
  const schedule = kick ?? (driver === undefined ? undefined : () => driver.schedule())
  if (schedule === undefined) {
    const sleeper = ensureSleeper(cpu)
    sleeper.add(descriptor)
    return () => sleeper.remove(descriptor)
  }
  const watch = watchDescriptor(descriptor, schedule)
  const forget = driver?.addWatch(watch)
  return () => {
    forget?.()
    watch.close()
  }
}
