// What a benchmark's result has to reach, and whether it did: printed beside the figures, so that nobody has to know.
import { compare, type Result, type Variant } from './report.ts'

export interface Bar {
  /** At least so many times the peer of the same run. */
  readonly ratio?: number
  /** At least this rate. */
  readonly rate?: number
}

/** Prints one line for each part of the bar. True when all are reached. */
export function judge(result: Result, bar: Bar, unit: string, scale = 1): boolean {
  let reached = true
  const line = (good: boolean, text: string) => {
    reached &&= good
    console.log(`  ${good ? 'reached' : 'MISSED '}  ${text}`)
  }
  if (bar.rate !== undefined) {
    const [is, wanted] = [result.median, bar.rate].map((rate) => (rate / scale).toFixed(2))
    line(result.median >= bar.rate, `${result.name}: ${is} ${unit}, wanted ${wanted}`)
  }
  if (bar.ratio !== undefined) {
    line(
      result.ratio >= bar.ratio,
      `${result.name}: ${result.ratio.toFixed(2)} times the peer, wanted ${bar.ratio.toFixed(2)}`,
    )
  }
  return reached
}

/** As `compare`; where one of the variants fails, that is said, and the others of a benchmark are still run. */
export async function compareOrSay(
  title: string,
  variants: readonly Variant[],
  rounds: number,
): Promise<Result[] | undefined> {
  let running = ''
  const named = variants.map(({ name, run }) => ({
    name,
    run: () => {
      running = name
      return run()
    },
  }))
  try {
    return await compare(named, rounds)
  } catch (error) {
    console.log(`\n${title}\n  FAILED   ${running}: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}
