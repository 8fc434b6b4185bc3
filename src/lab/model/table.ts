// The cost table of a simulated machine, from a calibration: nothing in it was chosen, and nothing is fitted to what the model is
// compared with afterwards.
import { Mbuf } from '../../device/mbuf.ts'
import type { CostTable } from '../../machine/cost.ts'
import type { Discipline } from '../../net/discipline.ts'
import { TcpPcb } from '../../net/tcp/pcb.ts'
import { type Calibration, type CostName, workOf } from './calibration.ts'
import { SPIN_LOOKS } from './primitive.ts'

/** Turns without work before a CPU of the threads host sleeps, when its sleeps are short (machine/spin.ts). */
const SPIN_TURNS = 2000

const LINE_BYTES = 64
/** Of a small packet that another CPU has made: its mbuf, and headers with a little data. */
const PACKET_LINES = Mbuf.size / LINE_BYTES + 2

/** @throws KernelError ENOENT where the calibration has not measured this load under this discipline */
export function costTable(calibration: Calibration, load: string, discipline: Discipline, cpus: number): CostTable {
  const of = (name: CostName) => calibration.costs[name].median
  const work = workOf(calibration, load, discipline)
  // What each does takes longer where others work as well: they share memory and, it may be, a core.
  const times = cpus === 1 ? 1 : Math.max(1, of('together'))
  // The turns that it was measured in are counted by themselves.
  const packet = Math.max(0, work.packet.median - work.turns * of('turn'))
  // A record that others had comes here, and goes back to them when they need it: both are paid by who has taken it.
  const there = (lines: number) => 2 * (of('line') + (lines - 1) * of('nextLine'))
  // A packet that leaves by another queue than its connection's was made by a CPU that had to fetch the connection. Not where each has
  // an owner: there what moved is the packet.
  const fetched = discipline === 'connp-t' ? 0 : there(TcpPcb.size / LINE_BYTES)
  const holds = Object.entries(work.holds).map(([key, ns]) => [key, ns * times])
  return {
    counted: [
      { set: 'ip', counter: 'received', ns: packet * times },
      { set: 'tcp socket', counter: 'notifications', ns: work.told * times },
      { set: 'tcp', counter: 'delivered', ns: work.delivered * times },
      { set: 'tcp', counter: 'sent', ns: work.sent * times },
      { set: 'load queue', counter: 'forwarded', ns: fetched },
      { set: 'slab', counter: 'freedElsewhere', ns: there(PACKET_LINES) },
      { set: 'cpu', counter: 'messagesReceived', ns: of('queued') * times },
    ],
    holds: Object.fromEntries(holds),
    lock: of('lock'),
    lockTransfer: of('lockTransfer'),
    lineTransfer: of('line'),
    turn: of('turn') * times,
    idleTurn: of('idleTurn') * times,
    ringLook: of('ringLook'),
    entrySent: of('entry'),
    // Its line and those of its messages come together (kernel/ipi.ts, `#touch`).
    entryReceived: of('entry') + 2 * of('line'),
    doorbell: of('doorbell'),
    wakeup: of('wakeup'),
    spinLook: of('spinLook'),
    spinLooks: SPIN_LOOKS,
    spinSleep: of('spinSleep'),
    patience: SPIN_TURNS * of('idleTurn'),
  }
}
