// Histograms with two buckets for each power of two: 64 counts cover every 32-bit value within 25 %, and finding the
// bucket is a count of leading zeros. Counts are doubles: at 20 million a second 32 bits would be full in three minutes.

export const HISTOGRAM_BUCKETS = 64
export const HISTOGRAM_BYTES = HISTOGRAM_BUCKETS * 8

/** The bucket of a whole number from 0 to 2^32 - 1: 0, 1, 2, 3, 4–5, 6–7, 8–11, 12–15 … */
export function bucketOf(value: number): number {
  if (value < 2) return value
  const exponent = 31 - Math.clz32(value)
  return exponent * 2 + ((value >>> (exponent - 1)) & 1)
}

/** The smallest value in a bucket. */
export function bucketFloor(bucket: number): number {
  if (bucket < 2) return bucket
  return 2 ** (bucket >> 1) * (bucket & 1 ? 1.5 : 1)
}

/** A copy of 64 counts, taken out of the memory that they are kept in, to add up and to ask. */
export class Histogram {
  readonly counts: number[] = new Array<number>(HISTOGRAM_BUCKETS).fill(0)
  total = 0

  add(counts: ArrayLike<number>, index: number): void {
    for (let i = 0; i < HISTOGRAM_BUCKETS; i++) {
      const count = counts[index + i]!
      this.counts[i]! += count
      this.total += count
    }
  }

  record(value: number): void {
    this.counts[bucketOf(value)]!++
    this.total++
  }

  /** The value below which the share `q` of all values lies, as the middle of its bucket. 0 when empty. */
  quantile(q: number): number {
    let left = Math.ceil(q * this.total)
    for (let i = 0; i < HISTOGRAM_BUCKETS; i++) {
      left -= this.counts[i]!
      if (left <= 0 && this.total > 0) return i < 4 ? i : (bucketFloor(i) + bucketFloor(i + 1) - 1) / 2
    }
    return 0
  }

  /** The mean, as far as the buckets tell. */
  get mean(): number {
    let sum = 0
    for (let i = 0; i < HISTOGRAM_BUCKETS; i++) {
      sum += this.counts[i]! * (i < 4 ? i : (bucketFloor(i) + bucketFloor(i + 1) - 1) / 2)
    }
    return this.total === 0 ? 0 : sum / this.total
  }

  /** The largest value that can have been recorded. */
  get max(): number {
    for (let i = HISTOGRAM_BUCKETS - 1; i >= 0; i--) if (this.counts[i]! > 0) return i < 4 ? i : bucketFloor(i + 1) - 1
    return 0
  }
}
