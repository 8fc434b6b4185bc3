// Tables for the terminal: the hand-off table of the measurement contract, and what it costs per delivered packet.
import { Histogram } from '../base/histogram.ts'
import { HANDOFF_POINTS } from '../kernel/layout.ts'
import { delivered, type HandoffRow, type Snapshot, sum } from './snapshot.ts'

type Cell = string | number

/** Lines of text: numbers right, words left. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? count(cell) : cell)))
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)))
  const line = (row: readonly string[], like: readonly Cell[]) =>
    row
      .map((cell, i) => (typeof like[i] === 'number' || i > 1 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
  return [line(head, head), ...cells.map((row, i) => line(row, rows[i]!))].join('\n')
}

/** Every hand-off point: how deep, how long, in what batches, with how many doorbells. `byPair` keeps the CPUs apart. */
export function handoffTable(snapshot: Snapshot, byPair: boolean): string {
  const rows = byPair ? snapshot.handoffs : merged(snapshot.handoffs)
  const head = [
    'point',
    'cpu',
    'enqueued',
    'dequeued',
    'dropped',
    'depth',
    'p50',
    'p99',
    'max',
    'wait µs',
    'p50',
    'p99',
    'batch',
    'p99',
    'limit %',
    'doorbells',
    'avoided',
  ]
  return table(
    head,
    rows.map((row) => {
      const depth = histogram(row.depth)
      const wait = histogram(row.wait)
      const batch = histogram(row.batch)
      const ended = row.endedEmpty + row.endedLimit
      return [
        row.point,
        byPair ? `${row.source} → ${row.target}` : 'all',
        row.enqueued,
        row.dequeued,
        row.dropped,
        depth.mean.toFixed(1),
        depth.quantile(0.5).toFixed(0),
        depth.quantile(0.99).toFixed(0),
        depth.max.toFixed(0),
        (wait.mean / 10).toFixed(1),
        (wait.quantile(0.5) / 10).toFixed(1),
        (wait.quantile(0.99) / 10).toFixed(1),
        batch.mean.toFixed(1),
        batch.quantile(0.99).toFixed(0),
        ended === 0 ? '0' : ((row.endedLimit / ended) * 100).toFixed(0),
        row.rung,
        row.avoided,
      ]
    }),
  )
}

/** What one delivered packet cost in hand-offs: the numbers that the debate of 2004 asked for. */
export function costTable(snapshot: Snapshot): string {
  const packets = delivered(snapshot)
  const operations = snapshot.handoffs.reduce((total, row) => total + row.enqueued + row.dequeued, 0)
  const costs: [string, number][] = [
    ['queue operations', operations],
    ['messages', sum(snapshot, 'cpu.messagesSent')],
    ['IPIs', sum(snapshot, 'cpu.ipisSent')],
    ['IPI publishes', sum(snapshot, 'cpu.ipiPublishes')],
    ['doorbells rung', snapshot.handoffs.reduce((total, row) => total + row.rung, 0)],
    ['doorbells avoided', snapshot.handoffs.reduce((total, row) => total + row.avoided, 0)],
    ['CPU sleeps', sum(snapshot, 'cpu.sleeps')],
    ['thread switches', sum(snapshot, 'cpu.contextSwitches')],
    ['lock acquisitions', sum(snapshot, 'lock.count')],
    ['copies', sum(snapshot, 'mbuf.copies')],
    ['system calls', sum(snapshot, 'device.systemCalls')],
  ]
  return table(
    ['cost', '', 'in all', 'per delivered packet'],
    costs.map(([name, value]) => [name, '', value, packets === 0 ? '–' : (value / packets).toFixed(4)]),
  )
}

/** What each CPU did with its time. */
export function cpuTable(snapshot: Snapshot): string {
  return table(
    ['cpu', '', 'turns', 'load %', 'busy %', 'spinning %', 'asleep %', 'sleeps', 'spurious', 'ipis in', 'ipis out'],
    snapshot.counters.map((counters, cpu) => {
      const value = (name: string) => counters[`cpu.${name}`] ?? 0
      const all = value('busyUs') + value('idleUs') + value('sleepUs')
      const share = (us: number) => (all === 0 ? '0.0' : ((us / all) * 100).toFixed(1))
      return [
        `cpu ${cpu}`,
        '',
        value('turns'),
        value('loadPercent'),
        share(value('busyUs')),
        share(value('idleUs')),
        share(value('sleepUs')),
        value('sleeps'),
        value('spuriousWakeups'),
        value('ipisReceived'),
        value('ipisSent'),
      ]
    }),
  )
}

/** Drops by name, those that happened. Empty when there were none. */
export function dropTable(snapshot: Snapshot): string {
  const names = new Set(snapshot.counters.flatMap((counters) => Object.keys(counters)))
  const drops = [...names].filter((name) => isDrop(name) && sum(snapshot, name) > 0).sort()
  return drops.length === 0
    ? ''
    : table(
        ['dropped', '', 'packets'],
        drops.map((name) => [name, '', sum(snapshot, name)]),
      )
}

/** Whether a counter counts packets that were lost, refused or not sent. */
export function isDrop(name: string): boolean {
  return DROPS.test(name)
}

const DROPS = new RegExp(
  `\\.(${[
    'dropped',
    'send[A-Z]',
    'noPort',
    'transmit(Full|TooLong|Errors|NoMbuf)',
    'receive(NoMbuf|TooLong|Empty|Errors|Dropped)',
    'exhausted',
    'lost',
    'partitioned',
    'blackHoled',
    'tailDropped',
    'overflowed',
    'discarded',
    '(sentN|n)oMemory',
    'noMbuf',
    'full',
    'packets(Dropped|Refused)',
    'earlyDropped',
    '(copy|loop)NoMbuf',
  ].join('|')})`,
)

/** One row for each point, in the order of a packet's way. */
function merged(rows: readonly HandoffRow[]): HandoffRow[] {
  return HANDOFF_POINTS.flatMap((point) => {
    const mine = rows.filter((row) => row.point === point)
    return mine.length === 0 ? [] : [mine.reduce(addRows)]
  })
}

/** Two rows as one, of the first one's place. */
export function addRows(a: HandoffRow, b: HandoffRow): HandoffRow {
  const lists = (x: readonly number[], y: readonly number[]) => x.map((value, i) => value + y[i]!)
  return {
    ...a,
    enqueued: a.enqueued + b.enqueued,
    dequeued: a.dequeued + b.dequeued,
    dropped: a.dropped + b.dropped,
    length: a.length + b.length,
    batches: a.batches + b.batches,
    endedEmpty: a.endedEmpty + b.endedEmpty,
    endedLimit: a.endedLimit + b.endedLimit,
    rung: a.rung + b.rung,
    avoided: a.avoided + b.avoided,
    depth: lists(a.depth, b.depth),
    wait: lists(a.wait, b.wait),
    batch: lists(a.batch, b.batch),
  }
}

export function histogram(counts: readonly number[]): Histogram {
  const h = new Histogram()
  h.add(Float64Array.from(counts), 0)
  return h
}

/** 1234567 → 1 234 567. */
export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ' ')
}
