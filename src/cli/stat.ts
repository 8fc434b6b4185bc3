// damselfly stat: the tables of an instance that runs, from its own counters: once, live, or as an endpoint for Prometheus.
import { setTimeout as sleep } from 'node:timers/promises'
import { askInstance } from './control.ts'
import { onlyInstance } from './instance.ts'
import { needPackages, PROMETHEUS_PACKAGES } from './optional.ts'
import { isLevel, type Snapshot } from './snapshot.ts'
import { live } from './stat/live.ts'
import { parse, type StatOptions } from './stat/option.ts'
import { terminal } from './stat/terminal.ts'
import { view } from './stat/view.ts'

export async function stat(args: readonly string[]): Promise<void> {
  const options = parse(args)
  if (options.mode === 'prometheus') return serve(options)
  const pid = options.pid || (await onlyInstance('stat'))
  const ask = () => askInstance(pid)
  if (options.mode === 'live') return live(options, ask, terminal(), pause)
  const snapshot = await ask()
  if (options.json) console.log(JSON.stringify(snapshot))
  else {
    const { order, pairs } = options
    const heading = `${snapshot.title} (process ${pid}), since boot ${(snapshot.atUs / 1e6).toFixed(1)} s ago`
    console.log(`${heading}\n\n${view(snapshot, { pairs, rates: false, ...(order === undefined ? {} : { order }) })}`)
  }
}

/** Answers until a signal ends the process. Without --pid it is, at each scrape, the instance that runs then. */
async function serve({ pid, listen }: StatOptions): Promise<void> {
  // Only here: prom-client is nothing that the other tables need.
  needPackages('damselfly stat --prometheus', PROMETHEUS_PACKAGES)
  const { exposition } = await import('../metrics/prometheus.ts')
  const { listensAt, serveMetrics } = await import('../metrics/endpoint.ts')
  const server = await serveMetrics(listen, async () => {
    const snapshot = await askInstance(pid || (await onlyInstance('stat')))
    return exposition(snapshot, { labels: labelsOf(snapshot), uptimeUs: snapshot.atUs, isLevel })
  })
  console.log(`Prometheus finds the counts at http://${listensAt(server)}/metrics`)
}

/** One value each, for one machine: their number does not grow. */
function labelsOf({ title, pid, host, discipline = '' }: Snapshot): { readonly [name: string]: string } {
  return { title, pid: `${pid}`, host, discipline }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {})
}
