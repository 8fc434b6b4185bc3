// The disciplines: how a CPU comes to work on a connection. Protocol code is written once, against a connection group (tcp/group.ts), and
// knows only that it is inside; what differs is how one gets there. The names are those of Willmann, Rixner and Cox (USENIX ATC 2006).
//
//   giant     one group, one lock
//   msgp      message parallel: any CPU takes any packet; one table under a reader-writer lock, and connections under locks of their own
//   connp-l   connection parallel, locked groups: any CPU, under the group's lock, which has its own table
//   connp-t   connection parallel, threaded groups: only the group's CPU, without a lock; all others send it messages
import { Errno, KernelError } from '../base/errno.ts'

export const DISCIPLINES = ['giant', 'msgp', 'connp-l', 'connp-t'] as const
export type Discipline = (typeof DISCIPLINES)[number]

/** Willmann's number of groups, which is the most that he measures. */
const CONNP_L_GROUPS = 128
/** Locks of connections: with so many, hardly ever do two busy connections share one. */
const MSGP_GROUPS = 1024
/** The most that anybody may ask for. */
export const GROUPS_MAX = 4096

/**
 * How many connection groups there are.
 * @param cpus those that own flows
 * @param wanted the configuration's, for `connp-l`
 * @throws KernelError EINVAL
 */
export function groupCount(discipline: Discipline, cpus: number, wanted: number | undefined): number {
  if (!DISCIPLINES.includes(discipline)) {
    const sentence = `discipline is "${discipline}": give one of ${DISCIPLINES.join(', ')}`
    throw new KernelError(Errno.EINVAL, sentence)
  }
  if (wanted !== undefined && discipline !== 'connp-l') {
    throw new KernelError(Errno.EINVAL, `groups is ${wanted}, which is for connp-l: ${discipline} has its own number`)
  }
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 1 && wanted <= GROUPS_MAX)) {
    throw new KernelError(Errno.EINVAL, `groups is ${wanted}: give a whole number from 1 to ${GROUPS_MAX}`)
  }
  if (discipline === 'giant') return 1
  if (discipline === 'msgp') return MSGP_GROUPS
  return discipline === 'connp-l' ? (wanted ?? CONNP_L_GROUPS) : cpus
}
