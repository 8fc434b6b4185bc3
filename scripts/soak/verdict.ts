// What the readings of a soak say: a table of each quantity, and whether it grows.
import { OF_CPU, OF_PROCESS, type Reading, type Tolerance } from './measure.ts'
import { grows, medianOf, type Sample, slopeOf } from './slope.ts'

/** The beginning is left out: code is compiled, tables grow to their size… */
const WARM_UP = 0.35
/** … and TIME-WAITs gather until the first of them end. */
export const WARM_UP_S = 80
/** At rest there are a host's own objects, and spare packets. On each CPU. */
const REST_MAX = 400
/** A trend of fewer is none. */
const READINGS_MIN = 8

export interface Verdict {
  readonly text: string
  readonly isGood: boolean
}

/** One quantity, of the process or of one CPU. */
interface Series {
  readonly title: string
  readonly tolerance: Tolerance
  readonly samples: readonly Sample[]
}

/** @param rest objects of each CPU's slabs in use at the end, if it came to that */
export function judge(readings: readonly Reading[], rest: readonly number[] | undefined): Verdict {
  const steady = readings.slice(Math.floor(readings.length * WARM_UP)).filter(({ at }) => at >= WARM_UP_S)
  if (steady.length < READINGS_MIN) {
    return { text: `  ${steady.length} readings are too few: give it more minutes`, isGood: false }
  }
  const verdicts = seriesOf(steady).map(judgeSeries)
  const isAlone = rest?.length === 1
  const rests = (rest ?? []).map((count, cpu): Verdict => {
    const isLeft = count > REST_MAX
    const word = `${isLeft ? 'LEFT' : 'flat'}: slab objects (${REST_MAX} may be)`
    return { text: line(titleOf('at rest', cpu, isAlone), `${count}`, word), isGood: !isLeft }
  })
  const all = [...verdicts, ...rests]
  return { text: all.map(({ text }) => text).join('\n'), isGood: all.every(({ isGood }) => isGood) }
}

/** Those of the process first, then each one's CPUs beside each other. */
function seriesOf(readings: readonly Reading[]): Series[] {
  const { cpus } = readings[0]!
  const series = (title: string, tolerance: Tolerance, value: (reading: Reading) => number): Series => {
    const samples = readings.map((reading) => ({ at: reading.at, value: value(reading) }))
    return { title, tolerance, samples: tolerance.isRate === true ? ratesOf(samples) : samples }
  }
  return [
    ...keys(OF_PROCESS).map((key) => series(OF_PROCESS[key].title, OF_PROCESS[key], (reading) => reading[key])),
    ...keys(OF_CPU).flatMap((key) =>
      cpus.map((_, cpu) =>
        series(titleOf(OF_CPU[key].title, cpu, cpus.length === 1), OF_CPU[key], (reading) => reading.cpus[cpu]![key]),
      ),
    ),
  ]
}

function judgeSeries({ title, tolerance, samples }: Series): Verdict {
  const { unit, scale, share, least } = tolerance
  const slope = slopeOf(samples)
  const most = Math.max(share * medianOf(samples.map(({ value }) => value)), least)
  const isGrowing = grows(slope, most)
  const number = (value: number) => `${(value / scale).toFixed(scale === 1 ? 0 : 1)}${unit === '' ? '' : ` ${unit}`}`
  const word = isGrowing ? 'GROWS' : 'flat'
  const text = `${word}: by ${number(slope.growth)} (${number(most)} may be), z ${slope.z.toFixed(1)}`
  return { text: line(title, number(slope.median), text), isGood: !isGrowing }
}

/** By how much each of them is more than the one before, in a second. */
function ratesOf(samples: readonly Sample[]): Sample[] {
  return samples.slice(1).map(({ at, value }, i) => {
    const before = samples[i]!
    return { at, value: (value - before.value) / (at - before.at) }
  })
}

function line(title: string, value: string, text: string): string {
  return `  ${title.padEnd(22)}${value.padStart(10)}  ${text}`
}

function titleOf(title: string, cpu: number, isAlone: boolean): string {
  return isAlone ? title : `${title}, cpu ${cpu}`
}

function keys<Table extends object>(table: Table): (keyof Table)[] {
  return Object.keys(table) as (keyof Table)[]
}
