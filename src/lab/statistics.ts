// What is said of the repetitions of a cell. Few repetitions: the median and all of the spread, never a mean.
import { assert } from '../base/assert.ts'

export interface Summary {
  /** Repetitions. */
  readonly count: number
  readonly median: number
  readonly low: number
  readonly high: number
  readonly lowerQuartile: number
  readonly upperQuartile: number
}

/** Of at least one value. */
export function summarize(values: readonly number[]): Summary {
  assert(values.length > 0, 'a summary is of one value at least')
  const sorted = [...values].sort((a, b) => a - b)
  return {
    count: sorted.length,
    median: quantileOf(sorted, 0.5),
    low: sorted[0]!,
    high: sorted.at(-1)!,
    lowerQuartile: quantileOf(sorted, 0.25),
    upperQuartile: quantileOf(sorted, 0.75),
  }
}

/** The summary of what `of`, which never falls, makes of the values. */
export function mapSummary(summary: Summary, of: (value: number) => number): Summary {
  const { count, median, low, high, lowerQuartile, upperQuartile } = summary
  return {
    count,
    median: of(median),
    low: of(low),
    high: of(high),
    lowerQuartile: of(lowerQuartile),
    upperQuartile: of(upperQuartile),
  }
}

export function median(values: readonly number[]): number {
  return summarize(values).median
}

/** Between two values on a straight line (Hyndman and Fan, 1996, type 7). */
function quantileOf(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share
  const below = Math.floor(at)
  const low = sorted[below]!
  const high = sorted[Math.ceil(at)]!
  // Not low + (high - low) * …, which overflows, and may lie beside both by a rounding.
  return low === high ? low : low * (1 - (at - below)) + high * (at - below)
}
