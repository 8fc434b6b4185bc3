// The time to live that a program may ask for. For sockets.
import { Errno, KernelError } from '../base/errno.ts'

/**
 * @rfc 1122 3.2.1.7/zero nothing that leaves has a time to live of 0. `least` is 0 for groups: what is sent to them by that stays in the host.
 *
 * @throws KernelError EINVAL for what is no whole number from `least` to 255
 */
export function checkTtl(ttl: number | undefined, syscall: string, least = 1): void {
  if (ttl === undefined || (Number.isInteger(ttl) && ttl >= least && ttl <= 255)) return
  throw new KernelError(Errno.EINVAL, `time to live is ${ttl}: give a whole number from ${least} to 255`, syscall)
}
