// What must hold at the end of a world, and what may be a reason for a connection to fail.
import { Errno } from '../../src/base/errno.ts'
import { SlabCounters, total } from '../../src/kernel.ts'
import type { SimMachine } from '../../src/machine/sim.ts'
import { imbalances } from '../../src/metrics/balance.ts'
import { takeCounts } from '../../src/metrics/take.ts'
import { TcpCounters } from '../../src/net/counters.ts'
import { GroupRecord } from '../../src/net/tcp/groupset.ts'
import type { Stack } from '../../src/stack.ts'
import type { End } from './end.ts'
import { WorldFailure } from './failure.ts'
import type { WorldPlan } from './plan.ts'

/** A loss of more than this may lose all of the few packets that a handshake has. */
const LOSS_MAX = 0.08
/** Silence of so long is taken for a peer that is gone, by a program that asks. */
const SILENCE_US = 10_000_000
/** A neighbour that does not answer for so long is taken to be none. */
const NEIGHBOUR_US = 2_500_000

/** Connections that this CPU's groups have: those that were closed and are not over are among them. */
export function connectionsOf(stack: Stack): number {
  const { memory } = stack.context
  const group = GroupRecord.cursor(memory)
  let connections = 0
  for (const address of stack.connectionGroups) {
    group.at = address
    connections += group.connections
  }
  return connections
}

/** Nothing is left in any table, and all that was counted adds up. */
export function assertEmpty(machine: SimMachine, stacks: readonly Stack[]): void {
  for (const stack of stacks) {
    const where = `${stack.context.config.name}, cpu ${stack.context.cpu.index}`
    if (stack.tcp.size > 0) throw new WorldFailure('sockets left', `${where}: ${stack.tcp.size} sockets are left`)
    const group = GroupRecord.cursor(stack.context.memory)
    for (const address of stack.connectionGroups) {
      group.at = address
      const { connections, embryos, timeWaits, count, outputFirst, eventFirst, deadFirst, shellFirst } = group
      const left = { connections, embryos, timeWaits, count, outputFirst, eventFirst, deadFirst, shellFirst }
      for (const [name, value] of Object.entries(left)) {
        if (value !== 0) throw new WorldFailure(`tables: ${name}`, `${where}: ${name} is ${value} at the end`)
      }
    }
  }
  const [opened, closed] = [total(machine.memory, TcpCounters, 'opened'), total(machine.memory, TcpCounters, 'closed')]
  if (opened !== closed) throw new WorldFailure('opened', `${opened} connections were opened, and ${closed} closed`)
  const [first, ...more] = imbalances(takeCounts(machine), true)
  if (first === undefined) return
  const sentence = [first, ...more].map(({ name, place, left, right }) => `${name} (${place}): ${left}, ${right}`)
  throw new WorldFailure(`balance: ${first.name}`, sentence.join('\n'))
}

/** All pools are full: when the machine has stopped. */
export function assertFree(machine: SimMachine): void {
  for (const cpu of machine.cpus) cpu.slab.flush()
  for (const cpu of machine.cpus) cpu.slab.collect()
  for (const { index, slab } of machine.cpus) {
    const left = slab.read().filter(({ live }) => live !== 0)
    if (left.length === 0 && slab.live === 0) continue
    const sizes = left.map(({ live, objectBytes }) => `${live} of ${objectBytes} bytes`).join(', ')
    throw new WorldFailure('memory left', `cpu ${index} does not have all of its memory back: ${sizes}`)
  }
}

/** Why this end may fail, or undefined. */
export function excuseOf(plan: WorldPlan, machine: SimMachine, end: End): string | undefined {
  const { errno, peer, stream } = end
  if (peer?.aborted === true || end.aborted) return 'an end has aborted'
  // The client of a server that never knew its stream is somebody's, and may have aborted before it said so.
  if (stream === undefined) return 'its client is not known'
  const aborts = Object.values(stream.ends).some(
    (each) => (each.abortsAfterSent ?? each.abortsAfterReceived) !== undefined,
  )
  if (aborts) return 'an end aborts'
  if (plan.deaths.length > 0) return 'a host is dead'
  if (total(machine.memory, SlabCounters, 'exhausted') > 0) return 'memory was short'
  const hosts = plan.hosts.filter(({ name }) => name === stream.client)
  if (errno === Errno.EADDRNOTAVAIL && hosts.some((host) => host.ephemeralPorts !== undefined)) return 'ports are few'
  if (errno === Errno.EADDRINUSE && stream.localPort !== 0) return 'the port is its own choice'
  // A connection that only a cookie knows of is known by its first segment: where there was no place for that, the next one is nobody's.
  const listener = plan.listeners.find(({ host, port }) => host === stream.server && port === stream.port)
  if (errno === Errno.ECONNRESET && (listener?.backlog ?? 0) < plan.streams.length)
    return 'there may be no place for it'
  for (const { link, fault } of plan.linkFaults) {
    if (link !== stream.link) continue
    const { loss = 0, burst, corrupt = 0, truncate = 0, blackHoleBytes, partitions = [], clogs = [] } = fault
    if (burst !== undefined || blackHoleBytes !== undefined) return 'losses come in rows'
    if (loss > LOSS_MAX || corrupt > LOSS_MAX || truncate > LOSS_MAX) return 'losses are many'
    if (fault.rateBitsPerSecond !== undefined) return 'a queue may be full for long'
    const silence = [...partitions, ...clogs].reduce((sum, { fromUs, untilUs }) => sum + untilUs - fromUs, 0)
    if (silence > (errno === Errno.EHOSTUNREACH ? NEIGHBOUR_US : SILENCE_US)) return 'the link is silent for long'
  }
  return undefined
}
