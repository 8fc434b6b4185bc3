// The words behind `damselfly stat`.
import { parseArgs } from 'node:util'
import { type ListenAddress, parseListen } from '../../metrics/listen.ts'
import { decimalNumber, wholeNumber } from '../argument.ts'
import { processOf } from '../instance.ts'
import { UsageError } from '../usage.ts'
import { type Order, SORT_COLUMNS } from './workstream.ts'

export interface StatOptions {
  /** 0: the only one that runs. */
  readonly pid: number
  readonly mode: 'once' | 'live' | 'prometheus'
  readonly seconds: number
  /** Blocks that are shown; 0: until it is ended. */
  readonly count: number
  readonly json: boolean
  readonly pairs: boolean
  readonly order: Order | undefined
  readonly listen: ListenAddress
}

const DEFAULT_LISTEN = '127.0.0.1:9464'
const SECONDS = { low: 0.2, high: 3600 } as const

/** @throws UsageError; what parseArgs throws for words that it does not know */
export function parse(args: readonly string[]): StatOptions {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      pid: text,
      live: flag,
      watch: text,
      interval: text,
      count: text,
      sort: text,
      pairs: flag,
      json: flag,
      prometheus: flag,
      listen: text,
    },
  })
  const live = values.live || values.watch !== undefined
  if (live && values.prometheus) throw new UsageError('--prometheus serves counts and shows none: leave out --live')
  refuse(values, live ? [] : ['interval', 'count'], '--live')
  refuse(values, values.prometheus ? [] : ['listen'], '--prometheus')
  refuse(values, values.json || values.prometheus ? ['sort', 'pairs'] : [], 'tables')
  if (values.json && values.prometheus) throw new UsageError('--json is not for --prometheus: leave out one of them')
  if (values.watch !== undefined && values.interval !== undefined) {
    throw new UsageError('--watch N is --live --interval N: give one of them')
  }
  const watch = decimalNumber('watch', values.watch, SECONDS.low, SECONDS.high, 1)
  return {
    pid: processOf(values.pid),
    mode: values.prometheus ? 'prometheus' : live ? 'live' : 'once',
    seconds: decimalNumber('interval', values.interval, SECONDS.low, SECONDS.high, watch),
    count: wholeNumber('count', values.count, 1, 1_000_000_000, 0),
    json: values.json,
    pairs: values.pairs,
    order: parseOrder(values.sort),
    listen: parseListenOption(values.listen ?? DEFAULT_LISTEN),
  }
}

/** Those options that are nothing without `what`. */
function refuse(values: { readonly [option: string]: unknown }, options: readonly string[], what: string): void {
  for (const option of options) {
    if (values[option] !== undefined && values[option] !== false) throw new UsageError(`--${option} is for ${what}`)
  }
}

/** A column, the largest first; with `-` behind it the smallest. */
function parseOrder(text: string | undefined): Order | undefined {
  if (text === undefined) return undefined
  const ascending = text.endsWith('-')
  const column = ascending ? text.slice(0, -1) : text
  if (SORT_COLUMNS.includes(column)) return { column, ascending }
  throw new UsageError(`--sort is "${text}": give one of ${SORT_COLUMNS.join(', ')}`)
}

function parseListenOption(text: string): ListenAddress {
  const address = parseListen(text)
  if (address !== undefined) return address
  throw new UsageError(`--listen is "${text}": give an address and a port from 0 to 65535, like ${DEFAULT_LISTEN}`)
}
