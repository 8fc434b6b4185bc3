// The stack on a TUN device against the kernel's own, with the same client: where this machine lets us make network namespaces.
import type { CellParameters, Entry, Experiment, Plot, Point, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { MeasuredCell, Measurements } from '../measurements.ts'
import { isMeasured } from '../outcome.ts'
import { cell } from '../sweep.ts'

const NAMES: { readonly [load: string]: string } = {
  'bulk-in': 'bulk into the server',
  'bulk-out': 'bulk out of the server',
  exchange: 'exchanges of 64 bytes',
  short: 'short connections',
  http: 'requests of HTTP',
}

const FULL: readonly CellParameters[] = [
  { load: 'bulk-in', connections: 1 },
  { load: 'bulk-out', connections: 1 },
  { load: 'exchange', connections: 1 },
  { load: 'exchange', connections: 1, spins: true },
  { load: 'exchange', connections: 64 },
  { load: 'short', connections: 64 },
  { load: 'http', connections: 64 },
]
const QUICK: readonly CellParameters[] = [{ load: 'exchange', connections: 64 }]

export const tun: Experiment = {
  name: 'tun',
  title: 'Over TUN, against the kernel',
  question:
    'The other experiments leave the operating system out. What does the stack do where packets come from the kernel and go to it, beside the kernel’s own stack with the same peer?',
  method: `The client is a small program in C on the kernel’s sockets, in a network namespace of its own. It talks to the stack, one CPU on a
TUN device with super-segments in that namespace; and to a server in C on the kernel’s sockets in another namespace, over a veth
with its default offloads. Requests of HTTP go to Node’s own http: the same file by \`damselfly run\`, and by Node on the kernel. Each run
measures both, one after the other, in an order that chance chooses; the ratio is that of one run.

Where it says so, both servers spin and never sleep: what a ratio owes to looking instead of sleeping can be told from that.

Every packet of the stack costs a system call to read or to write, and the kernel’s stack on the client’s end is at work for both. This
needs Linux, root, /dev/net/tun and a C compiler; what cannot be measured here says why.`,
  metrics: [
    { name: 'ratio', title: 'stack by kernel', unit: 'times', better: 'more' },
    { name: 'bits', title: 'stack', unit: 'Gbit/s', scale: 1e9, better: 'more' },
    { name: 'kernelBits', title: 'kernel', unit: 'Gbit/s', scale: 1e9, better: 'more' },
    { name: 'exchanges', title: 'stack', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'kernelExchanges', title: 'kernel', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'p50', title: 'stack, half', unit: 'µs', better: 'less' },
    { name: 'kernelP50', title: 'kernel, half', unit: 'µs', better: 'less' },
    { name: 'p99', title: 'stack, 99 %', unit: 'µs', better: 'less' },
    { name: 'kernelP99', title: 'kernel, 99 %', unit: 'µs', better: 'less' },
  ],
  cells: ({ full }) => (full ? FULL : QUICK).map((parameters) => cell('tun', parameters)),
  table,
  plot,
  conclude,
}

function nameOf({ load, connections, spins }: CellParameters): string {
  const many = connections === 1 ? '1 connection' : `${connections} at a time`
  return `${NAMES[String(load)]}, ${many}${spins === true ? ', servers spinning' : ''}`
}

function table(results: Measurements): Table {
  const metrics = [...results.metrics.values()]
  const hasReasons = results.cells.some((cell) => reasonOf(cell) !== undefined)
  const rows = results.cells.map((cell): Entry[] => [
    nameOf(cell.parameters),
    ...metrics.map(({ name }) => cell.summary(name)),
    ...(hasReasons ? [reasonOf(cell)] : []),
  ])
  return {
    title: 'The stack on TUN, and the kernel over veth',
    columns: [
      { title: 'load' },
      ...metrics.map(({ title, unit }) => ({ title, unit })),
      ...(hasReasons ? [{ title: 'left out, because' }] : []),
    ],
    rows,
  }
}

/** Why a cell measured nothing. */
function reasonOf({ outcomes }: MeasuredCell): string | undefined {
  if (outcomes.some(isMeasured)) return undefined
  for (const outcome of outcomes) {
    if ('impossible' in outcome) return outcome.impossible
    if ('error' in outcome) return outcome.error
  }
  return undefined
}

function plot(results: Measurements): Plot {
  const points = results.cells.flatMap((cell): Point[] => {
    const ratio = cell.summary('ratio')
    if (ratio === undefined) return []
    return [{ x: nameOf(cell.parameters), y: ratio.median, low: ratio.low, high: ratio.high }]
  })
  return {
    title: 'What the stack does over TUN, by what the kernel does over veth',
    x: { title: 'load', scale: 'category' },
    y: { title: 'times the kernel', scale: 'linear' },
    series: [{ name: 'the stack', points }],
    limits: [{ title: 'the kernel', y: 1 }],
  }
}

function conclude(results: Measurements): string {
  const text = results.cells.flatMap((cell) => {
    const ratio = cell.summary('ratio')
    if (ratio === undefined) return []
    const verdict = ratio.low > 1 ? 'faster' : ratio.high < 1 ? 'slower' : 'alike'
    return [{ verdict, sentence: `${nameOf(cell.parameters)}: ${figuresOf(cell)}.` }]
  })
  const left = results.cells.length - text.length
  const missing = left === 0 ? [] : [`${figure(left)} of ${results.cells.length} loads were not measured.`]
  if (text.length === 0) return ['Too little was measured to compare the stack with the kernel.', ...missing].join(' ')
  const count = (which: string) => text.filter(({ verdict }) => verdict === which).length
  const score = `Of ${text.length} loads over TUN the stack is faster than the kernel in ${count('faster')} and slower in ${count('slower')}.`
  return [score, ...text.map(({ sentence }) => sentence[0]!.toUpperCase() + sentence.slice(1)), ...missing].join(' ')
}

function figuresOf(cell: MeasuredCell): string {
  const ratio = `${figure(cell.median('ratio')!)} times the kernel`
  const pairs = [
    ['bits', 'kernelBits', 'Gbit/s'],
    ['exchanges', 'kernelExchanges', 'thousand a second'],
  ] as const
  for (const [ours, theirs, unit] of pairs) {
    const [stack, kernel] = [cell.median(ours), cell.median(theirs)]
    if (stack !== undefined && kernel !== undefined)
      return `${ratio} (${figure(stack)} against ${figure(kernel)} ${unit})`
  }
  return ratio
}
