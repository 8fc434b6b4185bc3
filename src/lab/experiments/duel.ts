// The message design against the best of its rivals, as far as a few repetitions can tell: where the spreads of the two
// overlap nobody has won.
import type { CellParameters } from '../experiment.ts'
import { figure } from '../format.ts'
import { Measurements } from '../measurements.ts'
import type { Summary } from '../statistics.ts'

/** The design itself: each connection has one CPU, and all others send it messages. */
export const CHAMPION = 'connp-t'

/** Who stands against all that have another value of a parameter. */
export interface Contest {
  readonly parameter: string
  readonly champion: string
}

const DISCIPLINE: Contest = { parameter: 'discipline', champion: CHAMPION }

export interface Duel {
  readonly champion: Summary
  readonly rival: Summary
  /** The best of those that take locks. */
  readonly rivalName: string
  /** The champion's median by the rival's. */
  readonly ratio: number
  readonly verdict: 'wins' | 'loses' | 'even'
}

/** Undefined where either side was not measured. */
export function duel(
  results: Measurements,
  metric: string,
  where: CellParameters = {},
  { parameter, champion: name }: Contest = DISCIPLINE,
): Duel | undefined {
  const { better } = results.metric(metric)
  const mine = results.where(where)
  const champion = mine.cell({ [parameter]: name })?.summary(metric)
  const others = mine.cells.filter(({ parameters }) => parameters[parameter] !== name)
  const best = new Measurements(others, mine.metrics).best(metric)
  const rival = best?.summary(metric)
  if (champion === undefined || best === undefined || rival === undefined || rival.median === 0) return undefined
  const isMore = champion.low > rival.high
  const isLess = champion.high < rival.low
  const verdict = !isMore && !isLess ? 'even' : isMore === (better === 'more') ? 'wins' : 'loses'
  const rivalName = String(best.parameters[parameter])
  return { champion, rival, rivalName, ratio: champion.median / rival.median, verdict }
}

/** "connp-t wins with 880 against 620 thousand a second of msgp (1.42 times)". */
export function duelText({ champion, rival, rivalName, ratio, verdict }: Duel, unit: string): string {
  const figures = `${figure(champion.median)} against ${figure(rival.median)} ${unit} of ${rivalName}`
  if (verdict === 'even') return `${CHAMPION} and ${rivalName} are alike within their spread (${figures})`
  return `${CHAMPION} ${verdict} with ${figures} (${figure(ratio)} times)`
}
