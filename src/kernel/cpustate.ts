// What a CPU is doing, in the one word that others look at before they ring its doorbell.
export const CpuState = {
  running: 0,
  /** It has announced its sleep: whoever gives it work swaps this for `running`, and then wakes it. */
  sleeping: 1,
  /** It has left its run loop. */
  stopped: 2,
} as const
export type CpuState = (typeof CpuState)[keyof typeof CpuState]
