// What each CPU of `damselfly up` runs: its part of every host, and the services and loads on them.
import type { Cpu } from '../kernel/cpu.ts'
import type { HostConfig } from '../net/config.ts'
import { HostCounters } from '../net/counters.ts'
import { echo } from '../service/echo.ts'
import { Load, type LoadOptions } from '../service/load.ts'
import { obey } from '../service/operator.ts'
import { Stack } from '../stack.ts'

export interface UpData {
  readonly hosts: readonly {
    readonly config: HostConfig
    /** The UDP port of the echo service, if the host has one. */
    readonly echoPort?: number
    /** What the host asks of another's echo service. */
    readonly load?: LoadOptions
  }[]
}

export default function up(cpu: Cpu, data: UpData): void {
  cpu.hardclock.measureLoad()
  const stacks: Stack[] = []
  for (const { config, echoPort, load } of data.hosts) {
    if (!config.cpus.includes(cpu.index)) continue
    const stack = new Stack(cpu, config)
    stacks.push(stack)
    cpu.threads.start(`${config.name} starts`, function* (thread) {
      yield* stack.start(thread)
      let open = echoPort === undefined
      if (echoPort !== undefined) {
        echo(stack, echoPort, (error) => {
          if (error !== undefined) throw error
          open = true
        })
      }
      yield* thread.until(() => open)
      stack.context.count(HostCounters)[HostCounters.index.ready]!++
      if (load !== undefined) new Load(stack, load)
    })
  }
  obey(cpu, stacks)
}
