// What the network layers count. Every packet that comes in is delivered, dropped under a name, or still held:
// the identities beside the sets are checked by tests.
import { counterSet, tallyOf } from '../kernel/counters.ts'

/** `ready` counts the CPUs on which the host's part stands, with its devices polled and its services open. */
export const HostCounters = counterSet('host', ['ready'] as const)

/** received = ip + arp + dropped… */
export const EtherCounters = counterSet('ether', [
  'received',
  'ip',
  'arp',
  'transmitted',
  // There was no memory for the bytes of a packet that was to wait in a queue.
  'noMemory',
  'droppedRunt',
  'droppedSource',
  'droppedType',
  'droppedUnknownType',
  'droppedNotOurs',
] as const)

/** received = requestsAnswered + repliesUsed + ignored + dropped…; packetsHeld = packetsReleased + packetsDropped + still held */
export const ArpCounters = counterSet('arp', [
  'received',
  'requestsAnswered',
  'repliesUsed',
  'ignored',
  'droppedMalformed',
  'droppedSender',
  'droppedUnsolicited',
  'requestsSent',
  'repliesSent',
  'probesSent',
  'resolved',
  'failed',
  'evicted',
  'updates',
  'packetsHeld',
  'packetsReleased',
  'packetsDropped',
  'packetsRefused',
] as const)

/**
 * received + reassembled = delivered + fragments + dropped…; what the transports sent = sent + sentDatagramsFragmented +
 * sentInside + sendNoRoute + sendNoAddress + sendNoMbuf + sendTooLong + sendNotAllowed
 */
export const IpCounters = counterSet('ip', [
  'received',
  'delivered',
  'fragments',
  'reassembled',
  'droppedShort',
  'droppedVersion',
  'droppedHeaderLength',
  'droppedTotalLength',
  'droppedTruncated',
  'droppedChecksum',
  'droppedOption',
  'droppedSourceRoute',
  'droppedSource',
  'droppedTtl',
  'droppedNotOurs',
  'droppedProtocol',
  'droppedLayout',
  'sent',
  'sentFragments',
  // Of those sent, fragments included: to the host itself, and to a device whose frames begin with the IP header.
  'sentLocal',
  'sentUnframed',
  // On their way to another CPU, which has the device's queue, there was no memory for their bytes.
  'sentNoMemory',
  // To a group, for the host's own members or for nobody: it does not leave.
  'sentInside',
  'sentDatagramsFragmented',
  'sendNoRoute',
  'sendNoAddress',
  'sendNoMbuf',
  'sendTooLong',
  'sendDeviceFull',
  'sendNotAllowed',
] as const)
/** Here and below: those of each packet that finds its way. */
export const IpInputTally = tallyOf(IpCounters, ['received', 'delivered'])
export const IpOutputTally = tallyOf(IpCounters, ['sent', 'sentUnframed'])

/** fragments = reassembledFragments + dropped… + held */
export const ReassemblyCounters = counterSet('reassembly', [
  'fragments',
  'reassembledFragments',
  'reassembled',
  'droppedLayout',
  'droppedOverlap',
  'droppedDuplicate',
  'droppedTimeout',
  'droppedLimit',
  'droppedTiny',
  'held',
] as const)

/** received = echoRequests + echoReplies + errors + errorsUnmatched + ignored + dropped… but for droppedNoMbuf, which is an error not sent */
export const IcmpCounters = counterSet('icmp', [
  'received',
  'echoRequests',
  'echoReplies',
  'errors',
  'errorsUnmatched',
  'ignored',
  'droppedShort',
  'droppedQuote',
  'droppedChecksum',
  'droppedBroadcast',
  'droppedNoMbuf',
  // Of EchoSender.
  'sentRequests',
  'sentErrors',
  'errorsNotAllowed',
  'errorsRateLimited',
] as const)

/** received = delivered + noPort + dropped… */
export const UdpCounters = counterSet('udp', [
  'received',
  'delivered',
  'noPort',
  'droppedShort',
  'droppedLength',
  'droppedTruncated',
  'droppedPort',
  'droppedChecksum',
  'sent',
] as const)
export const UdpTally = tallyOf(UdpCounters, ['received', 'delivered', 'sent'])

/** received = toConnection + toEmbryo + toTimeWait + toListener + noPort + droppedShort + droppedOffset + droppedChecksum + droppedBroadcast + droppedPort */
export const TcpCounters = counterSet('tcp', [
  'received',
  'toConnection',
  'toEmbryo',
  'toTimeWait',
  'toListener',
  'noPort',
  'droppedShort',
  'droppedOffset',
  'droppedChecksum',
  'droppedBroadcast',
  'droppedPort',
  // What a connection has refused of what came for it.
  'badFlags',
  'rejectedPaws',
  'rejectedTimestamp',
  'rejectedWindow',
  'rejectedAck',
  'rejectedReset',
  'rejectedAssassin',
  'duplicates',
  'duplicateBytes',
  'beyondWindow',
  'early',
  'earlyDropped',
  'dataAfterClose',
  'challenges',
  'challengesLimited',
  'resetsReceived',
  // Segments whose data went to the program as part of another's packet, and packets that went.
  'coalesced',
  'delivered',
  'deliveredBytes',
  'sendDropped',
  'noticesDelayed',
  // What was sent.
  'sent',
  'copiedSmall',
  'acksSent',
  'delayedAcks',
  'resetsSent',
  'sendErrors',
  'retransmitted',
  'retransmittedSyns',
  'timeouts',
  'recoveries',
  'ecnReductions',
  'tailProbes',
  'windowProbes',
  'keepAlives',
  'mtuReduced',
  'blackHoles',
  'negativeAdvice',
  // Connections.
  'opened',
  'established',
  'closed',
  'failed',
  'timedOut',
  'keepAliveTimedOut',
  'finWait2TimedOut',
  'embryos',
  'embryosReset',
  'embryosTimedOut',
  'backlogFull',
  'cookiesSent',
  'cookiesAccepted',
  'timeWaits',
  'timeWaitsReused',
  'timeWaitsEvicted',
  'timeWaitsSkipped',
  'timersMoved', // by a change of the discipline: between those of CPUs and those that all CPUs share
] as const)
export const TcpTally = tallyOf(TcpCounters, [
  'received',
  'toConnection',
  'coalesced',
  'delivered',
  'deliveredBytes',
  'sent',
  'copiedSmall',
  'acksSent',
])

/** tcp delivered = received + receiveDropped + on the way */
export const TcpSocketCounters = counterSet('tcp socket', [
  'accepted',
  'received',
  'receiveDropped',
  'sent',
  'copiedIn',
  'copiedOut',
  'notifications',
] as const)
export const TcpSocketTally = tallyOf(TcpSocketCounters, ['received', 'sent', 'copiedIn', 'copiedOut', 'notifications'])

/** udp delivered = queued + droppedFull + droppedGone (to a closed socket); queued = received (by the program) + droppedClosed + still queued */
export const SocketCounters = counterSet('socket', [
  'queued',
  'received',
  'droppedFull',
  'droppedGone',
  'droppedClosed',
  'notifications',
  'sent',
  'sendErrors',
] as const)
export const SocketTally = tallyOf(SocketCounters, ['queued', 'received', 'notifications'])

/** steered + redirected = direct + handedOff + netisr droppedIp + droppedReassembled */
export const DispatchCounters = counterSet('dispatch', [
  'steered',
  'direct',
  'handedOff',
  'rehashed',
  'redirected', // of those handed off: on to another CPU, for the discipline has changed meanwhile
] as const)
export const DispatchTally = tallyOf(DispatchCounters, ['steered', 'direct'])

/**
 * Queues in front of protocols (policy.ts): what was a call all the same, what was queued, and what found the queue full. Of IP
 * the first two are `dispatch direct` and `handedOff`. `Link` is what IP gives to Ethernet, `Device` what a device is given, `Socket` datagrams.
 */
export const NetisrCounters = counterSet('netisr', [
  'directEther',
  'directArp',
  'directIcmp',
  'directIgmp',
  'directUdp',
  'directTcp',
  'directSocket',
  'directLink',
  'directDevice',
  'queuedEther',
  'queuedArp',
  'queuedIcmp',
  'queuedIgmp',
  'queuedUdp',
  'queuedTcp',
  'queuedSocket',
  'queuedLink',
  'queuedDevice',
  'droppedEther',
  'droppedArp',
  'droppedIp',
  'droppedReassembled',
  'droppedIcmp',
  'droppedIgmp',
  'droppedUdp',
  'droppedTcp',
  'droppedSocket',
  'droppedLink',
  'droppedDevice',
] as const)

/**
 * Groups and broadcasts. IGMP: received = queries + reports + ignored + dropped… A datagram for several sockets is copied
 * for all but one: udp delivered + copies = queued + droppedFull + droppedGone (sockets) + filtered.
 */
export const GroupCounters = counterSet('group', [
  'received',
  'queries',
  'reports',
  'ignored',
  'droppedShort',
  'droppedLength',
  'droppedGroup',
  'droppedChecksum',
  'droppedTtl',
  'droppedTarget',
  // Messages that IP was given, and of which kinds there were to be some.
  'sent',
  'sentReports',
  'sentLeaves',
  'suppressed',
  'sendErrors',
  // Groups that the host has joined and left again, counted on its control CPU.
  'joined',
  'left',
  // What was sent to a group and came in again, for the host's own members.
  'looped',
  'loopNoMbuf',
  'copies',
  'copyNoMbuf',
  'filtered',
] as const)
