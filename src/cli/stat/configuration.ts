// What `netstat -Q` calls Configuration: what the machine was booted as, and the bounds that it keeps.
import { Limits } from '../../base/limits.ts'
import type { Snapshot } from '../snapshot.ts'
import { count } from '../table.ts'

export function configuration(snapshot: Snapshot): string {
  const { cpus, host, discipline, groups, ringEntries, memoryBytes, layers = [], queueLimit } = snapshot
  const hasQueues = layers.length > 0 || othersOf(snapshot).length > 0
  const settings: (readonly [string, string])[] = [
    ['CPUs', `${cpus}`],
    ['host', host],
    ...(discipline === undefined ? [] : [['discipline', discipline] as const]),
    ...(groups === undefined ? [] : [['connection groups', `${groups}`] as const]),
    ['dispatch policy', policyOf(snapshot)],
    ...(layers.length === 0 ? [] : [['layers with a thread each', layers.join(', ')] as const]),
    ...(hasQueues && queueLimit !== undefined ? [['packets in a queue', count(queueLimit)] as const] : []),
    ['entries of each IPI ring', count(ringEntries)],
    ['memory', `${count(memoryBytes / 2 ** 20)} MiB`],
    ['messages that a port serves at a time', count(Limits.portBatch)],
    ['packets that a device gives at a time', count(Limits.deviceBatch)],
    ['IPIs that are published at a time', count(Limits.ipiBatch)],
    ['ports of each CPU', count(Limits.portsPerCpu)],
    ['threads of each CPU', count(Limits.threadsPerCpu)],
  ]
  const width = Math.max(...settings.map(([name]) => name.length))
  return ['Configuration', ...settings.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)].join('\n')
}

function policyOf(snapshot: Snapshot): string {
  const { discipline = 'connp-t' } = snapshot
  const direct = 'direct: a call on the CPU that owns the flow, else by its queue'
  const tcp = discipline === 'connp-t' ? [] : ['TCP where it arrives']
  return [direct, ...tcp, ...othersOf(snapshot)].join('; ')
}

/** The protocols that are not direct. */
function othersOf({ dispatch = {} }: Snapshot): string[] {
  return Object.entries(dispatch).flatMap(([protocol, policy]) => (policy === 'direct' ? [] : `${protocol} ${policy}`))
}
