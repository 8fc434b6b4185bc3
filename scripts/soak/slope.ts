// Whether a series of samples grows: the test of a leak. The slope is the median of the slopes between all pairs (Theil and Sen), which a few
// odd samples do not move; whether it is more than chance says Kendall's test (Mann and Kendall) of the same pairs.

export interface Sample {
  /** Seconds, or anything else that goes on evenly. */
  readonly at: number
  readonly value: number
}

export interface Slope {
  /** From the first sample to the last, by the slope. */
  readonly growth: number
  readonly median: number
  /** How many standard deviations from no trend at all. */
  readonly z: number
}

/** Beyond this a trend is none of chance: one series in a thousand. */
const Z_MAX = 3.1
/** Pairs of more samples would take long; every so manieth is enough. */
const SAMPLES_MAX = 400

/** @param samples at least 3 */
export function slopeOf(samples: readonly Sample[]): Slope {
  const step = Math.ceil(samples.length / SAMPLES_MAX)
  const some = samples.filter((_, i) => i % step === 0)
  const slopes: number[] = []
  let rises = 0
  for (const [i, a] of some.entries()) {
    for (const b of some.slice(i + 1)) {
      slopes.push((b.value - a.value) / (b.at - a.at))
      rises += Math.sign(b.value - a.value)
    }
  }
  const count = some.length
  const deviation = Math.sqrt((count * (count - 1) * (2 * count + 5)) / 18)
  const first = some[0]!.at
  const last = some.at(-1)!.at
  return {
    growth: medianOf(slopes) * (last - first),
    median: medianOf(some.map(({ value }) => value)),
    z: rises === 0 ? 0 : (rises - Math.sign(rises)) / deviation,
  }
}

/** Whether it grows: by more than chance, and by more than `most`, which is what the measurement itself may be off by. */
export function grows({ growth, z }: Slope, most: number): boolean {
  return z > Z_MAX && growth > most
}

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
