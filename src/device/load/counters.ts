// What each queue of a load device counts. Identities: `asked = exchanges + lost + those under way`; what an answer that
// left elsewhere says is `forwarded` by one queue and `taken` by another, several of one connection perhaps at once.
import { counterSet } from '../../kernel/counters.ts'
import type { Cpu } from '../../kernel/cpu.ts'

export const LoadQueueCounters = counterSet('load queue', [
  /** Packets put into the host, and taken from it. */
  'sent',
  'received',
  /** Of those sent: on connections that another CPU owns. */
  'sentWrong',
  /** Questions put in, and whole answers seen. */
  'asked',
  'exchanges',
  /** Payload: of whole answers, and of bulk what was acknowledged or received. */
  'bytes',
  /** Handshakes done, and connections that both ends have closed. */
  'connects',
  'closes',
  /** Connections, of the established workloads, that are open now. */
  'open',
  /** Acknowledgments without data. */
  'acknowledgments',
  /** Answers whose contents went to, or came from, another queue. */
  'forwarded',
  'taken',
  /** Of other queues' CPUs, so that they take them. */
  'doorbellsRung',
  'doorbellsAvoided',
  /** SYNs that the host has refused because nobody listened: tried again. */
  'refused',
  /** Errors from here on. No mbuf for a packet: it is made later. */
  'errorNoMbuf',
  /** Connections on which nothing has moved for a second though something was due. */
  'errorStalled',
  /** Connections that the host has reset. */
  'errorReset',
  /** Datagrams that were not answered within a second. */
  'errorLost',
  /** Packets of bulk that came again, though they were acknowledged. */
  'errorRepeated',
  /** Questions of an open loop that found too many waiting. */
  'errorOverrun',
  /** Packets of no connection, or that say what cannot be. */
  'errorUnexpected',
] as const)
export type LoadQueueCounter = (typeof LoadQueueCounters.counters)[number]

/** The next number for a load queue's counters on this CPU. */
export function nextLoadInstance(cpu: Cpu): number {
  return cpu.slot(INSTANCE, () => ({ next: 0 })).next++
}

const INSTANCE = Symbol('load instance')
