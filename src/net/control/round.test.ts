import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno } from '../../base/errno.ts'
import { onHosts, type TestHost, withHost } from '../testing/host.ts'
import { RoundKind } from './round.ts'

/** Notes what each CPU does for a kind of change, in order; `refuse` says on which CPU it cannot be done. */
function watch(host: TestHost, kind: RoundKind, refuse: (cpu: number, id: number) => number = () => 0): string[] {
  const log: string[] = []
  host.stacks.forEach(({ rounds }, cpu) => {
    rounds.handle(kind, {
      apply: (round) => {
        const code = refuse(cpu, round.id)
        log.push(`${code === 0 ? 'apply' : 'refuse'} ${round.id} on ${cpu}`)
        return code
      },
      undo: (round) => void log.push(`undo ${round.id} on ${cpu}`),
    })
  })
  return log
}

function start(host: TestHost, cpu: number, id: number, kind: RoundKind = RoundKind.addRoute): number[] {
  const codes: number[] = []
  host.on(cpu, ({ rounds }) =>
    rounds.start(
      kind,
      (round) => {
        round.id = id
      },
      (code) => codes.push(code),
    ),
  )
  return codes
}

describe('rounds', () => {
  onHosts('a change goes from CPU to CPU in their order, and is answered once', {}, (host) => {
    const log = watch(host, RoundKind.addRoute)
    const codes = start(host, host.cpuCount - 1, 7)
    assert.deepEqual(codes, [0])
    assert.deepEqual(
      log,
      host.stacks.map((_, cpu) => `apply 7 on ${cpu}`),
    )
  })

  test('a change that one CPU cannot carry out is undone by those that have', () => {
    withHost({ cpus: 4, seed: 5 }, (host) => {
      const log = watch(host, RoundKind.addRoute, (cpu) => (cpu === 2 ? Errno.ENOBUFS : 0))
      assert.deepEqual(start(host, 3, 1), [Errno.ENOBUFS])
      assert.deepEqual(log, ['apply 1 on 0', 'apply 1 on 1', 'refuse 1 on 2', 'undo 1 on 0', 'undo 1 on 1'])
    })
  })

  test('wherever it fails, those before undo and those behind never hear of it', () => {
    for (let failing = 0; failing < 4; failing++) {
      withHost({ cpus: 4, seed: failing }, (host) => {
        const log = watch(host, RoundKind.addRoute, (cpu) => (cpu === failing ? Errno.ENOSPC : 0))
        assert.deepEqual(start(host, 1, 1), [Errno.ENOSPC])
        const before = Array.from({ length: failing }, (_, cpu) => cpu)
        assert.deepEqual(log, [
          ...before.map((cpu) => `apply 1 on ${cpu}`),
          `refuse 1 on ${failing}`,
          ...before.map((cpu) => `undo 1 on ${cpu}`),
        ])
      })
    }
  })

  test('all CPUs see the changes of all CPUs in one order', () => {
    for (const seed of [1, 2, 3, 4]) {
      withHost({ cpus: 4, seed }, (host) => {
        const log = watch(host, RoundKind.addRoute)
        let answers = 0
        host.stacks.forEach(({ rounds, context }, cpu) => {
          context.cpu.timers.after(200, () => {
            for (let i = 0; i < 20; i++) {
              rounds.start(
                RoundKind.addRoute,
                (round) => {
                  round.id = cpu * 100 + i
                },
                () => answers++,
              )
            }
          })
        })
        host.run(10_000)
        assert.equal(answers, 80)
        const orders = [0, 1, 2, 3].map((cpu) =>
          log.filter((line) => line.endsWith(`on ${cpu}`)).map((line) => line.split(' ')[1]),
        )
        assert.equal(orders[0]!.length, 80)
        for (const order of orders) assert.deepEqual(order, orders[0])
      })
    }
  })

  test('a change that nobody knows is refused', () => {
    withHost({ cpus: 2 }, (host) => {
      assert.deepEqual(start(host, 1, 1, 99 as RoundKind), [Errno.EOPNOTSUPP])
    })
  })
})
