// What the machine paid in queue operations, synchronization and context switches for each packet that it delivered: in all and by CPU.
// Every number is over the packets of the whole machine, so that the CPUs' lines add up to the first.
//
//   queue operations      enqueues and dequeues at every hand-off point, each where it was done
//   synchronization       lock acquisitions, and what is done to words that CPUs share without a lock: a publish of IPIs or of
//                         packets into another CPU's ring, and a service of such a ring or of the list of freed memory
//   switches              sleeps of a CPU, and resumed threads
import { isPort } from '../../metrics/counts.ts'
import { delivered, type HandoffRow, type Snapshot } from '../snapshot.ts'
import { table } from '../table.ts'

/** Queues that several CPUs write to without a lock. The others are the own CPU's. */
const SHARED: ReadonlySet<string> = new Set(['ring', 'rx', 'free'])

/** What one CPU did. */
interface Cost {
  readonly queueOperations: number
  readonly locks: number
  readonly shared: number
  readonly sleeps: number
  readonly threadSwitches: number
  readonly rung: number
  readonly avoided: number
}

export function amortized(snapshot: Snapshot): string {
  const packets = delivered(snapshot)
  const costs = Array.from({ length: snapshot.cpus }, (_, cpu) => costOf(snapshot, cpu))
  const head = [
    'per delivered packet',
    '',
    'queue operations',
    'synchronization',
    'locks',
    'rings and lists',
    'switches',
    'sleeps',
    'threads',
    'doorbells rung',
    'avoided',
  ]
  const line = (name: string, cost: Cost) => {
    const { queueOperations, locks, shared, sleeps, threadSwitches, rung, avoided } = cost
    const values = [
      queueOperations,
      locks + shared,
      locks,
      shared,
      sleeps + threadSwitches,
      sleeps,
      threadSwitches,
      rung,
      avoided,
    ]
    return [name, '', ...values.map((value) => (packets === 0 ? '–' : (value / packets).toFixed(4)))]
  }
  return table(head, [line('all CPUs', costs.reduce(addCosts)), ...costs.map((cost, cpu) => line(`cpu ${cpu}`, cost))])
}

function costOf(snapshot: Snapshot, cpu: number): Cost {
  const { handoffs } = snapshot
  const count = (name: string) => snapshot.counters[cpu]?.[name] ?? 0
  const total = (is: (row: HandoffRow) => boolean, of: (row: HandoffRow) => number) =>
    handoffs.reduce((all, row) => (is(row) ? all + of(row) : all), 0)
  const toIt = ({ target }: HandoffRow) => target === cpu
  const fromIt = ({ source }: HandoffRow) => source === cpu
  // A port's own CPU puts into its queue what others sent.
  const enqueues = total(
    (row) => (isPort(row.point) ? toIt(row) : fromIt(row)),
    (row) => row.enqueued,
  )
  const publishes =
    count('cpu.ipiPublishes') +
    total(
      (row) => row.point === 'rx' && fromIt(row),
      (row) => row.rung + row.avoided,
    )
  const services = total(
    (row) => SHARED.has(row.point) && toIt(row),
    (row) => row.batches,
  )
  return {
    queueOperations: enqueues + total(toIt, (row) => row.dequeued),
    locks: count('lock.count'),
    shared: publishes + services,
    sleeps: count('cpu.sleeps'),
    threadSwitches: count('cpu.contextSwitches'),
    rung: total(fromIt, (row) => row.rung),
    avoided: total(fromIt, (row) => row.avoided),
  }
}

function addCosts(a: Cost, b: Cost): Cost {
  return {
    queueOperations: a.queueOperations + b.queueOperations,
    locks: a.locks + b.locks,
    shared: a.shared + b.shared,
    sleeps: a.sleeps + b.sleeps,
    threadSwitches: a.threadSwitches + b.threadSwitches,
    rung: a.rung + b.rung,
    avoided: a.avoided + b.avoided,
  }
}
