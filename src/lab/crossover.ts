// Where one of two overtakes the other along a sweep, as their ratio tells: between two points it is taken to be a straight line
// on logarithmic axes.

export interface RatioPoint {
  /** Above 0, rising. */
  readonly x: number
  /** Of the first by the second, above 0. */
  readonly ratio: number
}

export interface Crossover {
  /** Where both are alike. */
  readonly x: number
  /** The points on either side. */
  readonly between: readonly [number, number]
  /** Whether the first is ahead behind it. */
  readonly rises: boolean
}

/** All places where the ratio passes 1, in order. Points must be in order. */
export function crossovers(points: readonly RatioPoint[]): Crossover[] {
  const found: Crossover[] = []
  // What is exactly alike takes the side of the point before it: it is no place of its own.
  let last: RatioPoint | undefined
  for (const point of points) {
    if (point.ratio === 1) continue
    if (last !== undefined && last.ratio < 1 !== point.ratio < 1) {
      const [from, to] = [Math.log(last.ratio), Math.log(point.ratio)]
      const x = Math.exp(Math.log(last.x) + (from / (from - to)) * (Math.log(point.x) - Math.log(last.x)))
      found.push({ x, between: [last.x, point.x], rises: point.ratio > 1 })
    }
    last = point
  }
  return found
}
