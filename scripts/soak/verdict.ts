// What the readings of a soak say: a table of each quantity, and whether it grows.
import { QUANTITIES, type Reading, TOLERANCES } from './measure.ts'
import { grows, medianOf, slopeOf } from './slope.ts'

/** The beginning is left out: code is compiled, tables grow to their size… */
const WARM_UP = 0.35
/** … and TIME-WAITs gather until the first of them end. */
export const WARM_UP_S = 80
/** At rest there are a host's own objects, and spare packets. */
const REST_MAX = 400
/** A trend of fewer is none. */
const READINGS_MIN = 8

export interface Verdict {
  readonly text: string
  readonly isGood: boolean
}

/** @param rest objects of the slabs in use at the end, if it came to that */
export function judge(readings: readonly Reading[], rest: number | undefined): Verdict {
  const steady = readings.slice(Math.floor(readings.length * WARM_UP)).filter(({ at }) => at >= WARM_UP_S)
  if (steady.length < READINGS_MIN) {
    return { text: `  ${steady.length} readings are too few: give it more minutes`, isGood: false }
  }
  let isGood = true
  const lines = QUANTITIES.map((quantity) => {
    const { title, unit, scale, share, least } = TOLERANCES[quantity]
    const most = Math.max(share * medianOf(steady.map((reading) => reading[quantity])), least)
    const slope = slopeOf(steady.map((reading) => ({ at: reading.at, value: reading[quantity] })))
    const isGrowing = grows(slope, most)
    if (isGrowing) isGood = false
    const number = (value: number) => `${(value / scale).toFixed(scale === 1 ? 0 : 1)}${unit === '' ? '' : ` ${unit}`}`
    const word = isGrowing ? 'GROWS' : 'flat'
    return `  ${title.padEnd(14)}${number(slope.median).padStart(10)}  ${word}: by ${number(slope.growth)} (${number(most)} may be), z ${slope.z.toFixed(1)}`
  })
  if (rest !== undefined) {
    const isLeft = rest > REST_MAX
    if (isLeft) isGood = false
    lines.push(
      `  ${'at rest'.padEnd(14)}${`${rest}`.padStart(10)}  ${isLeft ? 'LEFT' : 'flat'}: slab objects (${REST_MAX} may be)`,
    )
  }
  return { text: lines.join('\n'), isGood }
}
