// How benchmarks are run and printed: the variants of one comparison in turn, A B A B …, so that a machine whose speed
// drifts drifts for both; the median, the spread, and the ratio to the peer or the limit of the same run.
export interface Variant {
  readonly name: string
  /** One run; gives a rate (more is better). */
  readonly run: () => Promise<number>
}

export interface Result {
  readonly name: string
  readonly median: number
  readonly low: number
  readonly high: number
  /** Median over the rounds of this variant's rate by that of the first variant in the same round. */
  readonly ratio: number
}

/** Runs each variant once to warm up, and then `rounds` times, interleaved. The first variant is what the others are held against. */
export async function compare(variants: readonly Variant[], rounds: number): Promise<Result[]> {
  const rates: number[][] = variants.map(() => [])
  for (let round = -1; round < rounds; round++) {
    for (const [i, variant] of variants.entries()) {
      const rate = await variant.run()
      if (round >= 0) rates[i]!.push(rate)
    }
  }
  return variants.map(({ name }, i) => {
    const mine = rates[i]!
    const sorted = [...mine].sort((a, b) => a - b)
    const ratios = mine.map((rate, round) => rate / rates[0]![round]!)
    return { name, median: median(mine), low: sorted[0]!, high: sorted[sorted.length - 1]!, ratio: median(ratios) }
  })
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/**
 * Where the median of that lies of which `values` are samples, with 95 %: from one of them to another, however they are distributed (order statistics:
 * Conover, Practical Nonparametric Statistics, 3.2). Of fewer than six it is all of them, which is less than 95 %.
 */
export function medianInterval(values: readonly number[]): { readonly from: number; readonly to: number } {
  const sorted = [...values].sort((a, b) => a - b)
  const n = sorted.length
  // Of n samples k are below the median by a chance of C(n, k) / 2^n.
  let chance = 2 ** -n
  let below = chance
  let k = 0
  while (below <= 0.025) {
    k++
    chance *= (n - k + 1) / k
    below += chance
  }
  const out = Math.max(k - 1, 0)
  return { from: sorted[out]!, to: sorted[n - 1 - out]! }
}

/** Prints the results of one comparison as a table. `unit` is what a rate counts, `scale` divides it. */
export function print(title: string, results: readonly Result[], unit: string, scale = 1): void {
  console.log(`\n${title}`)
  for (const { name, median: middle, low, high, ratio } of results) {
    const spread = `${(low / scale).toFixed(2)} to ${(high / scale).toFixed(2)}`
    console.log(
      `  ${name.padEnd(44)} ${(middle / scale).toFixed(2).padStart(9)} ${unit}   (${spread})   ratio ${ratio.toFixed(2)}`,
    )
  }
}
