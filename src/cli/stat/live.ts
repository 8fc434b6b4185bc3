// `damselfly stat --live`: what changes, for each second. On a terminal the screen is drawn anew, and keys choose the column that the
// workstreams are sorted by; elsewhere each interval prints a block, or a line of JSON. Ends by `q`, after `--count` of them, or
// when the instance does: then by the error that says so.
import { difference, perSecond, type Snapshot } from '../snapshot.ts'
import { view } from './view.ts'
import { type Order, SORT_COLUMNS } from './workstream.ts'

/** Where it is shown. */
export interface Screen {
  /** Undefined where it is no terminal. */
  readonly size: { readonly columns: number; readonly rows: number } | undefined
  write(text: string): void
  /** Calls `onKey` for each key until what it returns is called. */
  keys(onKey: (key: string) => void): () => void
}

export interface LiveOptions {
  readonly seconds: number
  /** 0: until it is ended. */
  readonly count: number
  readonly json: boolean
  readonly pairs: boolean
  readonly order: Order | undefined
}

/** Of the columns, in their order. `q` ends, `0` is no column. */
const KEYS = '123456789abcdefghijklmnop'
const CTRL_C = '\x03'
const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'

/**
 * @param ask takes a snapshot
 * @param pause resolves after so many ms, or at once when `signal` aborts
 */
export async function live(
  options: LiveOptions,
  ask: () => Promise<Snapshot>,
  screen: Screen,
  pause: (ms: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const quit = new AbortController()
  let order = options.order
  let change: Snapshot | undefined
  const draw = () => {
    if (change !== undefined) screen.write(drawn(change, { ...options, order }, screen))
  }
  const stopKeys = screen.keys((key) => {
    if (key === 'q' || key === CTRL_C) return quit.abort()
    const chosen = orderByKey(key, order)
    if (chosen === 'none') return
    order = chosen
    draw()
  })
  if (isDrawn(options, screen)) screen.write(HIDE_CURSOR)
  try {
    let earlier = await ask()
    for (let shown = 0; options.count === 0 || shown < options.count; shown++) {
      await pause(options.seconds * 1000, quit.signal)
      if (quit.signal.aborted) return
      const later = await ask()
      change = difference(later, earlier)
      earlier = later
      draw()
    }
  } finally {
    stopKeys()
    if (isDrawn(options, screen)) screen.write(SHOW_CURSOR)
  }
}

/** The same key again turns the order round; `0` gives it up. `none`: the key is none of these. */
function orderByKey(key: string, order: Order | undefined): Order | undefined | 'none' {
  if (key === '0') return undefined
  const column = key.length === 1 ? SORT_COLUMNS[KEYS.indexOf(key)] : undefined
  if (column === undefined || !KEYS.includes(key)) return 'none'
  return { column, ascending: order?.column === column && !order.ascending }
}

function isDrawn({ json }: LiveOptions, { size }: Screen): boolean {
  return size !== undefined && !json
}

function drawn(change: Snapshot, options: LiveOptions, screen: Screen): string {
  if (options.json) return `${JSON.stringify(change)}\n`
  const { order, pairs } = options
  const seconds = (change.atUs / 1e6).toFixed(1)
  const heading = `${change.title} (process ${change.pid}), the last ${seconds} s`
  const text = `${heading}\n\n${view(perSecond(change), { pairs, rates: true, ...(order === undefined ? {} : { order }) })}`
  if (screen.size === undefined) return `${text}\n\n`
  const { columns, rows } = screen.size
  const help = `keys sort by: ${SORT_COLUMNS.map((name, i) => `${KEYS[i]} ${name}`).join('  ')}   0 as they are   q quits`
  // Line by line over what was there: a cleared screen would flicker.
  const lines = [...text.split('\n').slice(0, rows - 2), '', help].slice(-rows)
  return `\x1b[H${lines.map((line) => `${line.slice(0, columns)}\x1b[K`).join('\r\n')}\x1b[J`
}
