// What a message between two CPUs costs, and how much of that is shared by those that are sent together.
import type { Experiment } from '../experiment.ts'
import { figure } from '../format.ts'
import type { Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepPlot, sweepTable } from '../view.ts'

const NAMES: { readonly [way: string]: string } = { 'one-way': 'one way', call: 'each answered' }

export const messages: Experiment = {
  name: 'messages',
  title: 'What a message costs, and what a batch saves',
  question:
    'A message between two CPUs is written to a ring, published, read, handled and marked as done. How much of that does each pay, and how much do those share that are sent in one turn?',
  method: `One CPU sends messages to a port of another, both on real threads that never sleep. It sends one batch in each turn of
its run loop; at the end of the turn what was staged is published. One way, up to 256 messages are under way, and the sender goes
on as they are done; answered, the sender waits for all of a batch before it sends the next, so that a batch of one is a round
trip.

The handler does nothing. What is measured is the hand-off alone, in its best case: a real handler adds its own time, and
a CPU that sleeps adds its wake-up.`,
  metrics: [
    { name: 'rate', title: 'messages', unit: 'million a second', scale: 1e6, better: 'more' },
    { name: 'nanoseconds', title: 'time of each', unit: 'ns', better: 'less' },
    { name: 'publishes', title: 'publishes', unit: 'a message', better: 'less' },
    { name: 'doorbells', title: 'doorbells', unit: 'a message', better: 'less' },
  ],
  cells: ({ full }) =>
    sweep('message', {
      way: ['one-way', 'call'],
      batch: full ? [1, 2, 4, 8, 16, 32, 64, 128, 256] : [1, 256],
    }),
  table: (results) =>
    sweepTable(results, {
      title: 'Messages between two CPUs',
      parameters: { way: 'way', batch: 'batch' },
    }),
  plot: (results) =>
    sweepPlot(results, {
      title: 'Messages between two CPUs, by the size of a batch',
      x: 'batch',
      xTitle: 'messages sent in one turn',
      xScale: 'log',
      metric: 'rate',
      by: 'way',
      name: (way) => NAMES[way] ?? way,
    }),
  conclude,
  accounting: (results) => {
    const best = results.where({ way: 'one-way' }).best('rate')
    const table = best?.recorded('handoffs', 'rate')
    if (best === undefined || table === undefined) return []
    const title = `Where messages waited, one way by ${best.parameters.batch}`
    return [{ title, columns: table.columns.map((column) => ({ title: column })), rows: table.rows }]
  },
}

function conclude(results: Measurements): string {
  const sentences = ['one-way', 'call'].flatMap((way) => {
    const mine = results.where({ way })
    const best = mine.best('rate')
    const alone = mine.cell({ batch: 1 })?.median('rate')
    const rate = best?.median('rate')
    if (best === undefined || rate === undefined) return []
    const fastest = `${NAMES[way]} most are sent by ${best.parameters.batch}: ${figure(rate)} million a second`
    if (alone === undefined || best.parameters.batch === 1) return [`${fastest}.`]
    const times = `${figure(rate / alone)} times the ${figure(alone)} million of messages sent singly`
    return [`${fastest}, ${times}.`]
  })
  const text = sentences.map((sentence) => sentence[0]!.toUpperCase() + sentence.slice(1))
  const single = results.cell({ way: 'call', batch: 1 })?.median('nanoseconds')
  // What a lock that nobody else wants costs is some tens of ns: the design must win elsewhere what it pays here.
  if (single !== undefined) {
    text.push(
      `A single message with its answer takes ${figure(single)} ns, which is what the design pays wherever it has only one to send and must wait.`,
    )
  }
  return text.join(' ')
}
