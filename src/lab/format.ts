// Numbers and entries of tables as text, the same on the terminal and in the report.
import type { Column, Entry } from './experiment.ts'
import type { Summary } from './statistics.ts'

/** Three digits that mean something, thousands apart: 1 234 567, 12.3, 0.0123. Whole numbers are shown whole. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (Number.isInteger(value)) return grouped(value.toFixed(0))
  const size = Math.abs(value)
  if (size >= 100) return grouped(value.toFixed(0))
  if (size < 1e-6) return value.toExponential(1)
  // The number of digits after the point is that of the rounded number: 9.996 is 10.0.
  const magnitude = Math.floor(Math.log10(Number(size.toPrecision(3))))
  return value.toFixed(Math.max(0, 2 - magnitude))
}

function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, ' ')
}

/** `12.3 (11.9 to 12.8)`; of one repetition, or of several alike, only the number. */
export function spread({ median, low, high }: Summary): string {
  const [middle, from, to] = [figure(median), figure(low), figure(high)]
  return from === middle && to === middle ? middle : `${middle} (${from} to ${to})`
}

export function entryText(entry: Entry): string {
  if (entry === undefined) return '–'
  if (typeof entry === 'number') return figure(entry)
  if (typeof entry === 'object') return spread(entry)
  return typeof entry === 'boolean' ? (entry ? 'yes' : 'no') : entry
}

export function columnText({ title, unit }: Column): string {
  return unit === undefined || unit === '' ? title : `${title} (${unit})`
}

/** `42 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
