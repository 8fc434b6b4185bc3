// What net.js takes for the handle of a server on a path. It accepts connections, and makes a handle of each.
import { AsyncResource } from 'node:async_hooks'
import { chmodSync, statSync, unlinkSync } from 'node:fs'
import { Errno } from '../../base/errno.ts'
import { Ready } from '../../device/linux/poll.ts'
import { NONE } from '../../device/linux/unix.ts'
import { Watch } from '../../device/linux/watch.ts'
import { Uv } from '../binding.ts'
import { UnixHandle } from './handle.ts'
import type { Deliverable, Open, UnixLoop } from './loop.ts'
import type { Traces } from './traces.ts'

/** Of net.js: who else may read and write, of libuv's UV_READABLE and UV_WRITABLE. */
const MODES = [
  [1, 0o444],
  [2, 0o222],
] as const
/** When the process has no descriptor left, connections wait for one in the kernel. */
const RETRY_MS = 50

type OnConnection = (this: unknown, status: number, handle: unknown) => void

export class UnixListener implements Deliverable, Open {
  queued = false
  /** Set by net.js. */
  onconnection: OnConnection | undefined = undefined
  readonly #loop: UnixLoop
  readonly #path: string
  readonly #makeTraces: () => Traces
  readonly #scope = new AsyncResource('PIPESERVERWRAP', { requireManualDestroy: true })
  #descriptor = NONE
  #watch: Watch | undefined = undefined
  /** `bind` has made the file: it is removed at the end, whatever `listen` says. */
  #isBound = false
  #retry: NodeJS.Timeout | undefined = undefined
  #isReferenced = true
  #isClosing = false
  #onclose: (() => void) | undefined = undefined

  constructor(loop: UnixLoop, path: string, makeTraces: () => Traces) {
    this.#loop = loop
    this.#path = path
    this.#makeTraces = makeTraces
  }

  get fd(): number {
    return this.#descriptor
  }

  getAsyncId(): number {
    return this.#scope.asyncId()
  }

  /** Binds and listens. net.js tells a failure of either alike. */
  listen(backlog: number): number {
    const { system } = this.#loop
    const descriptor = system.socket()
    if (descriptor < 0) return descriptor
    const bound = system.bind(descriptor, this.#path)
    this.#isBound = bound === 0
    const result = bound < 0 ? bound : system.listen(descriptor, backlog)
    if (result < 0) {
      system.close(descriptor)
      // As libuv has it, for Windows' sake.
      return result === -Errno.ENOENT ? -Errno.EACCES : result
    }
    this.#descriptor = descriptor
    this.#watch = new Watch(descriptor, () => this.#loop.queue(this))
    this.#watch.want(Ready.readable)
    this.#update()
    this.#loop.opened(this)
    return 0
  }

  /** Lets others than the owner read or write, besides what is allowed. */
  fchmod(mode: number): number {
    try {
      let allowed = statSync(this.#path).mode
      for (const [bit, permission] of MODES) if ((mode & bit) !== 0) allowed |= permission
      chmodSync(this.#path, allowed)
      return 0
    } catch (error) {
      return (error as NodeJS.ErrnoException).errno ?? Uv.EINVAL
    }
  }

  #accept(): void {
    // All that are there: libuv accepts until there are none.
    while (!this.#isClosing) {
      const descriptor = this.#loop.system.accept(this.#descriptor)
      if (descriptor === -Errno.EAGAIN) return
      if (descriptor === -Errno.ECONNABORTED) continue
      if (descriptor === -Errno.EMFILE || descriptor === -Errno.ENFILE) return this.#acceptLater()
      if (descriptor < 0) return void this.#loop.call(this.#scope, this.#connection, this, descriptor, undefined)
      this.#loop.call(this.#scope, this.#acceptOne, this, descriptor)
    }
  }

  /** In the server's scope, which the new handle's scope is made in. */
  #acceptOne(descriptor: number): void {
    this.#connection(0, new UnixHandle(this.#loop, this.#makeTraces(), descriptor))
  }

  #connection(status: number, handle: UnixHandle | undefined): void {
    this.onconnection?.(status, handle)
  }

  #acceptLater(): void {
    this.#watch?.want(0)
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.#watch?.want(Ready.readable)
    }, RETRY_MS)
    this.#update()
  }

  ref(): void {
    this.#isReferenced = true
    this.#update()
  }

  unref(): void {
    this.#isReferenced = false
    this.#update()
  }

  hasRef(): boolean {
    return this.#isReferenced && !this.#isClosing
  }

  #update(): void {
    for (const each of [this.#watch, this.#retry]) {
      if (this.#isReferenced) each?.ref()
      else each?.unref()
    }
  }

  close(onclose?: () => void): void {
    if (this.#isClosing) return
    this.#onclose = onclose
    this.abandon()
    this.#loop.queue(this)
  }

  canEnd(): boolean {
    return true
  }

  abandon(): void {
    this.#isClosing = true
    clearTimeout(this.#retry)
    this.#watch?.close()
    this.#watch = undefined
    if (this.#isBound && !this.#path.startsWith('\0')) removeFile(this.#path)
    this.#isBound = false
    if (this.#descriptor !== NONE) this.#loop.system.close(this.#descriptor)
    this.#descriptor = NONE
  }

  deliver(): void {
    if (!this.#isClosing) return this.#accept()
    this.#loop.closed(this)
    const onclose = this.#onclose
    this.#onclose = undefined
    if (typeof onclose === 'function') this.#loop.call(this.#scope, onclose, this)
    this.#scope.emitDestroy()
  }
}

/** Before the descriptor is closed, so that nobody finds the path and no server. That it is gone already is all the same. */
function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    return
  }
}
