// Every queue, table and loop has its bound here, under a name. What exceeds one is counted, and tested.
export const Limits = {
  /** CPUs of one machine. The sleep table has a bit for each. */
  cpus: 256,
  /** Entries of an IPI ring: a power of two (DragonFly has 256, had 16 in 2004). */
  ringEntriesMin: 16,
  ringEntriesMax: 4096,
  /** Staged IPIs are published when there are this many: 4 times the rate of one publish each (bench/ring.ts). */
  ipiBatch: 16,
  /** Ports that one CPU can create. */
  portsPerCpu: 1024,
  /** Threads that one CPU can create. */
  threadsPerCpu: 1024,
  /** Messages that a handler port serves before it lets others run (netisr: 32; 512 until 2014 made ACKs late). */
  portBatch: 32,
  /** Threads resumed in one turn of the run loop. */
  threadBatch: 32,
  /** Packets taken from one device in one turn. */
  deviceBatch: 64,
  /** What any of these batches can be set to at boot. */
  batchMax: 1024,
  /** Names of ports that a machine can have seen: a host has six for each of its CPUs. A power of two. */
  names: 8192,
  nameBytes: 52,
  /** Hash buckets of the sleep table. */
  sleepBuckets: 1024,
  /** Bytes of counter pages for each CPU, next to the hand-off records. */
  counterBytes: 32768,
  /** Lock classes that are profiled. */
  lockClasses: 64,
  /** IPIs that functions of IPIs may have left in the private queue behind a full ring before it is called a bug. */
  ipiOverflow: 65536,
  /** Threads signalled, timers fired and the like in one turn. */
  timerBatch: 256,
  /** Connections of a host on one CPU; besides them, those that have only answered a SYN, and those in TIME-WAIT. */
  tcpConnections: 262144,
  tcpEmbryos: 4096,
  tcpTimeWaits: 65536,
  /** Buffers of a connection, at first and at most (auto-tuning). */
  tcpReceiveBytes: 256 * 1024,
  tcpReceiveBytesMax: 4 * 1024 * 1024,
  tcpSendBytes: 256 * 1024,
  tcpSendBytesMax: 4 * 1024 * 1024,
  /** Segments that loss detection looks at for one acknowledgment. */
  tcpSegmentsLooked: 1024,
  /** Window probes of a connection that no program has any more. */
  tcpOrphanProbes: 8,
  /** The round trip, in µs, of a receiver that has measured none. */
  tcpRoundUs: 10_000,
  /** Local sockets (unix(7)) of one CPU, their listeners included, and names that one CPU keeps for all. */
  localSockets: 4096,
  localNames: 1024,
  /** Bytes of such a name: what sun_path has. */
  localNameBytes: 108,
  /** Connections that wait to be accepted by one listener (somaxconn). */
  localBacklog: 4096,
  /** What a local socket's buffers can be set to. */
  localBufferBytes: 4 * 1024 * 1024,
  localBufferMessages: 4096,
  /** Names to which one datagram socket has something under way. */
  localLanes: 64,
  /** Rights in one message (SCM_MAX_FD), rights of ports that one CPU has given out, and sockets of one CPU that are in messages. */
  localRightsPerMessage: 253,
  localPortRights: 1024,
  localInFlight: 1024,
  /** Sockets in messages in the queues of sockets in messages … (MAX_RECURSION_LEVEL of Linux's unix_attach_fds). */
  localNesting: 4,
  /** Smallest and largest machine memory. An address must stay a 31-bit number. */
  memoryMin: 4 * 1024 * 1024,
  memoryMax: 2 * 1024 * 1024 * 1024 - 65536,
} as const
