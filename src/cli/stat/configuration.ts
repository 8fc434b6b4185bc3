// What `netstat -Q` calls Configuration: what the machine was booted as, and the bounds that it keeps.
import { Limits } from '../../base/limits.ts'
import type { Snapshot } from '../snapshot.ts'
import { count } from '../table.ts'

export function configuration(snapshot: Snapshot): string {
  const { cpus, host, discipline, groups, ringEntries, memoryBytes } = snapshot
  const settings: (readonly [string, string])[] = [
    ['CPUs', `${cpus}`],
    ['host', host],
    ...(discipline === undefined ? [] : [['discipline', discipline] as const]),
    ...(groups === undefined ? [] : [['connection groups', `${groups}`] as const]),
    ['dispatch policy', policyOf(snapshot)],
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

function policyOf({ discipline = 'connp-t' }: Snapshot): string {
  const policy = 'hybrid: a call on the CPU that owns the flow, else by its queue'
  return discipline === 'connp-t' ? policy : `${policy}; TCP direct, where it arrives`
}
