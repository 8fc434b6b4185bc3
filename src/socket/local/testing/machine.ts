// A machine whose CPUs have local sockets, in virtual time. A test does things on one CPU or another, and when it ends everything that was counted
// has to add up, and all memory has to be free again.
import assert from 'node:assert/strict'
import { type SimMachine, type SimOptions, simulate } from '../../../machine/sim.ts'
import { nudge, sumOf } from '../../../machine/testing/sim.ts'
import { imbalances } from '../../../metrics/balance.ts'
import { takeCounts } from '../../../metrics/take.ts'
import { assertAllFree } from '../../../net/testing/host.ts'
import type { LocalCounters } from '../counters.ts'
import type { LocalMessage } from '../right.ts'
import type { LocalSocket } from '../socket.ts'
import { LocalSockets, type LocalSocketsOptions } from '../sockets.ts'

const encoder = new TextEncoder()
export const text = (value: string): Uint8Array => encoder.encode(value)

export class LocalMachine {
  readonly machine: SimMachine
  readonly locals: readonly LocalSockets[]

  constructor(cpus: number, seed = 1, options: LocalSocketsOptions & Pick<SimOptions, 'memoryBytes' | 'trace'> = {}) {
    const { memoryBytes = 32 * 1024 * 1024, trace = 'off' } = options
    this.machine = simulate({ cpus, seed, memoryBytes, trace, ringEntries: 64, checkOrder: true })
    this.locals = this.machine.cpus.map((cpu) => new LocalSockets(cpu, options))
    let up = 0
    for (const [i, local] of this.locals.entries()) {
      this.machine.cpus[i]!.threads.start('start', function* (thread) {
        yield* local.start(thread)
        up++
      })
    }
    this.run()
    assert.equal(up, cpus)
  }

  /** Calls `job` as a thread of a CPU, and runs until nothing is left to do. What it throws is thrown. */
  on<T>(cpu: number, job: (local: LocalSockets) => T): T {
    const result = this.post(cpu, job)
    this.run()
    return result()
  }

  /** As `on`, but it happens only when the machine runs. */
  post<T>(cpu: number, job: (local: LocalSockets) => T): () => T {
    let outcome: { value: T } | { error: unknown } | undefined
    const local = this.locals[cpu]!
    // biome-ignore lint/correctness/useYield: it has nothing to wait for
    this.machine.cpus[cpu]!.threads.start(`job ${cpu}`, function* () {
      try {
        outcome = { value: job(local) }
      } catch (error) {
        outcome = { error }
      }
    })
    nudge(this.machine, cpu)
    return () => {
      assert(outcome !== undefined, 'the job is done')
      if ('error' in outcome) throw outcome.error
      return outcome.value
    }
  }

  run(): void {
    this.machine.run()
  }

  count(counter: (typeof LocalCounters.counters)[number]): number {
    return sumOf(this.machine, 'local', counter)
  }

  /** A connection from CPU `from` to a listener on CPU `to`, which is closed then: both ends. */
  connect(
    from: number,
    to: number,
    kind: 'stream' | 'seqpacket' = 'stream',
    options: object = {},
  ): { client: LocalSocket; server: LocalSocket } {
    const listener = this.on(to, (local) => local.listen({ name: '/test/connect', kind, ...options }))
    const client = this.on(from, (local) => local.connect({ name: '/test/connect', kind, ...options }))
    const server = this.on(to, () => listener.accept())
    assert(server !== undefined, `connected: ${client.errno}`)
    this.on(to, () => listener.close())
    return { client, server }
  }

  /** The end of all programs: they close what they have, and everything adds up. */
  finish(): void {
    for (const i of this.locals.keys()) this.on(i, (local) => local.closeAll())
    this.rest()
    for (const local of this.locals) {
      assert.deepEqual([local.size, local.names, local.inFlight, local.parcels.madeCount], [0, 0, 0, 0])
    }
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }

  /** Nothing is under way: what is counted adds up. */
  rest(drained = true): void {
    for (let i = 0; i < 2; i++) {
      for (const cpu of this.machine.cpus) {
        for (const other of this.machine.cpus) if (cpu !== other) cpu.ipi.flushTo(other.index)
        nudge(this.machine, cpu.index)
      }
      this.run()
    }
    // The test itself wakes CPUs, past their queues.
    const wrong = imbalances(takeCounts(this.machine), drained).filter(({ name }) => !name.startsWith('doorbells'))
    assert.deepEqual(wrong, [])
    assert.equal(sumOf(this.machine, 'cpu', 'orderViolations'), 0)
  }
}

/** The next message, in words. */
export function receive(
  socket: { receive(target: Uint8Array): LocalMessage | undefined },
  bytes = 1024,
): string | undefined {
  const buffer = new Uint8Array(bytes)
  const message = socket.receive(buffer)
  return message === undefined ? undefined : Buffer.from(buffer.subarray(0, message.bytes)).toString()
}
