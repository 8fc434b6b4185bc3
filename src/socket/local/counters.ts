// What local sockets count.
import { counterSet } from '../../kernel/counters.ts'

/**
 * Of packets, which are messages, and pieces of streams: submitted = sent + droppedRefused + waiting; over all CPUs, at rest, sent = arrived;
 * arrived + movedIn = delivered + merged + movedOut + droppedClosed + queued; movedOut = movedIn.
 * Of rights: rightsSent = rightsTaken + rightsDropped + rightsWaiting + rightsQueued, over all CPUs, at rest.
 * Of sockets: opened = closed + those that there are; accepted = taken by programs + droppedBacklog + those that wait.
 */
export const LocalCounters = counterSet('local', [
  'submitted',
  'sent',
  'arrived',
  'delivered',
  'merged', // small pieces of a stream that were copied behind the last one
  'movedOut', // went along with a socket that was given to another CPU
  'movedIn',
  'queued', // received, and not taken: a level
  'waiting', // datagrams that their receiver has no room for yet: a level
  'droppedRefused', // datagrams whose receiver is not there, or does not want them
  'droppedClosed', // not taken when their socket was closed
  'bytesSent',
  'bytesReceived',
  'full', // sends that were told EAGAIN
  'opened',
  'closed',
  'accepted',
  'droppedBacklog', // connections that nobody had accepted when their listener was closed
  'refused', // connections and datagrams' targets that were refused
  'rightsSent',
  'rightsTaken',
  'rightsDropped',
  'rightsWaiting', // in datagrams that wait: a level
  'rightsQueued', // in messages that were received, and not taken: a level
  'traces', // stacks of senders that were taken
  'notifications',
  'noMemory', // notices that had to wait for memory
] as const)
