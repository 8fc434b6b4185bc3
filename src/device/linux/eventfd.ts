// eventfd(2): a doorbell that poll(2) can wait for. A CPU that sleeps in `Poller.wait` has one; any thread of the
// process may ring it, by its number. A ring that nobody has heard yet stays, so that none is lost.
import { Errno, KernelError } from '../../base/errno.ts'
import { type Libc, libc } from './library.ts'

const EFD_NONBLOCK = 0o4000
const EFD_CLOEXEC = 0o2000000

/**
 * A new eventfd that never blocks and is not inherited; close it by `closeEventfd`.
 * @throws KernelError EMFILE, ENFILE, and those of `libc`
 */
export function openEventfd(system: Libc = libc()): number {
  const descriptor = system.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
  if (descriptor >= 0) return descriptor
  throw new KernelError(
    -descriptor,
    'the operating system gives no eventfd: allow the process more open files (ulimit -n)',
    'eventfd',
  )
}

/** Rings; never blocks. 0, or `-errno` where the descriptor is none. */
export function signal(descriptor: number, system: Libc = libc()): number {
  const result = system.eventfdWrite(descriptor, 1)
  // The count is at its end: it has been rung, and more often cannot be heard.
  return result === -Errno.EAGAIN ? 0 : result
}

/** Takes all rings at once; never blocks. 1 where there were any, 0 where not, or `-errno`. */
export function drain(descriptor: number, system: Libc = libc()): number {
  const result = system.eventfdRead(descriptor)
  if (result === -Errno.EAGAIN) return 0
  return result < 0 ? result : 1
}

/** After this nobody may ring it: the number can belong to another file at once. */
export function closeEventfd(descriptor: number, system: Libc = libc()): void {
  system.close(descriptor)
}
