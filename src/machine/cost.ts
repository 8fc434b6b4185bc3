// What things cost on a machine that is simulated with costs (costed.ts): a table of nanoseconds. Where they come from is the matter of
// whoever makes the table: in the laboratory each was measured by itself (lab/model/).

export interface CostTable {
  /** Work, by what is counted when it is done: a packet that came in, a segment that went out. */
  readonly counted: readonly CountedCost[]
  /**
   * Work that is done inside of locks each time that one is held, by class and site ("giant@tcp input"; a site without a name is
   * ""), with taking the lock and leaving it. What is counted inside of a hold comes on top.
   */
  readonly holds: { readonly [classAndSite: string]: number }
  /** Taking and leaving a lock that `holds` does not have, when this CPU had it last. */
  readonly lock: number
  /** On top, when another CPU had it last: its line comes from there, and so does what it protects. */
  readonly lockTransfer: number
  /** A cache line that another CPU has written comes from there. */
  readonly lineTransfer: number
  /** A turn in which something was done, besides what it was; and one that found nothing. */
  readonly turn: number
  readonly idleTurn: number
  /** Looking whether another CPU has sent something, in each turn and for each other CPU. */
  readonly ringLook: number
  /** An entry of a ring to another CPU: writing it, with its message; and on the other side reading it, and handing over. */
  readonly entrySent: number
  readonly entryReceived: number
  /** Waking a CPU that sleeps: what it takes its waker, and how long it is until the other one runs. */
  readonly doorbell: number
  readonly wakeup: number
  /** A look at a lock that somebody else has, and what is slept after so many looks (worker.ts, `relaxation`). */
  readonly spinLook: number
  readonly spinLooks: number
  readonly spinSleep: number
  /** How long a CPU without work looks for some before it sleeps. */
  readonly patience: number
}

export interface CountedCost {
  /** A counter set's name and one of its counters; all instances of a CPU count alike. */
  readonly set: string
  readonly counter: string
  readonly ns: number
}

/** Nothing costs anything but a turn, which must, or time would stand still. */
export const FREE: CostTable = {
  counted: [],
  holds: {},
  lock: 0,
  lockTransfer: 0,
  lineTransfer: 0,
  turn: 1000,
  idleTurn: 1000,
  ringLook: 0,
  entrySent: 0,
  entryReceived: 0,
  doorbell: 0,
  wakeup: 0,
  spinLook: 1,
  spinLooks: Number.POSITIVE_INFINITY,
  spinSleep: 0,
  patience: 100_000,
}
