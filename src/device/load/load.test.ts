import assert from 'node:assert/strict'
import { test } from 'node:test'
import { total } from '../../kernel/counters.ts'
import { type SimMachine, simulate } from '../../machine/sim.ts'
import { nudge } from '../../machine/testing/sim.ts'
import { TcpCounters } from '../../net/counters.ts'
import { assertAllFree } from '../../net/testing/host.ts'
import { EchoCounters } from '../../service/echo.ts'
import { DeviceCounters } from '../device.ts'
import { MbufCounters } from '../mbuf.ts'
import type { LoadOptions } from './options.ts'
import { type LoadReading, loadErrors, readLoad, tellLoad } from './reading.ts'
import { loadRegions } from './region.ts'
import { Port, SERVER, ServerCounters, startServer } from './testing/server.ts'

const SECOND = 1e6
/** The short form measures a part of the time. */
const PART = process.env.DAMSELFLY_LONG === undefined ? 1 / 4 : 1
/** Of bulk each turn moves much. */
const COARSE = { turnUs: 500 }

interface Lab {
  readonly machine: SimMachine
  readonly load: LoadOptions
  /** Calls `serve` of each CPU, where nobody listens yet. */
  serve(): void
  /** Has the sources of all CPUs send no more. */
  dry(): void
  run(us: number): LoadReading
  read(): LoadReading
}

/** A server under load, for a while; then the load rests, and everything has to add up and be free again. */
function underLoad(
  options: Partial<LoadOptions> & Pick<LoadOptions, 'workload'>,
  body: (lab: Lab) => void,
  machineOptions: { seed?: number; turnUs?: number; listens?: boolean } = {},
): void {
  const port = { 'bulk-in': Port.sink, 'bulk-out': Port.source }[options.workload as string] ?? Port.echo
  const load: LoadOptions = { name: 'load0', cpus: [0, 1], connections: 32, server: SERVER, port, ...options }
  const { seed = 1, turnUs = 100, listens = true } = machineOptions
  const machine = simulate({
    cpus: load.cpus.length,
    seed,
    turnUs,
    memoryBytes: 128 * 1024 * 1024,
    regions: loadRegions(load),
    checkOrder: true,
  })
  try {
    const servers = machine.cpus.map((cpu) => startServer(cpu, load, listens))
    const read = () => readLoad(machine.memory, load)
    const run = (us: number) => {
      machine.run({ untilUs: machine.clock.now() + us, maxSteps: 100_000_000 })
      return read()
    }
    const serve = () => {
      for (const [i, server] of servers.entries()) {
        machine.cpus[i]!.timers.after(0, () => server.serve())
        nudge(machine, i)
      }
    }
    const dry = () => {
      for (const { source } of servers) source.dries = true
    }
    body({ machine, load, serve, dry, run, read })
    machine.stop().catch(() => {})
    assertAllFree(machine)
  } finally {
    machine.stop().catch(() => {})
  }
}

/** Lets what is under way come to its end. */
function rest({ machine, load, dry, run }: Lab): LoadReading {
  dry()
  tellLoad(machine.memory, load, 'rest')
  return run(SECOND / 5)
}

/** Every packet that the device made or took is counted once by it, and the mbufs of both sides balance. */
function assertBalance({ machine, read }: Lab): void {
  const { counts } = read()
  const of = (counter: 'received' | 'transmitted') => total(machine.memory, DeviceCounters, counter)
  assert.equal(counts.sent, of('received'))
  assert.equal(counts.received, of('transmitted'))
  assert.deepEqual(loadErrors(read()), {})
}

function assertRepliesHome({ read }: Lab): void {
  const { counts } = read()
  assert(counts.taken <= counts.forwarded, 'what was taken was forwarded')
}

const server = (lab: Lab, counter: 'accepted' | 'closed' | 'errors' | 'received' | 'sent') =>
  total(lab.machine.memory, ServerCounters, counter)
const tcp = (lab: Lab, counter: (typeof TcpCounters.counters)[number]) =>
  total(lab.machine.memory, TcpCounters, counter)

test('established connections exchange for a while without an error, and both sides count the same', () => {
  for (const cpus of [[0], [0, 1], [0, 1, 2]]) {
    underLoad({ workload: 'exchange', cpus }, (lab) => {
      const busy = lab.run(SECOND * PART)
      assert(busy.ready)
      assert.equal(busy.counts.open, 32)
      assert(busy.counts.exchanges > 10_000 * PART, `${busy.counts.exchanges} exchanges`)
      const { counts, latency, queues } = rest(lab)
      assert.equal(counts.asked, counts.exchanges)
      assert.equal(counts.bytes, counts.exchanges * 64)
      assert.equal(server(lab, 'received'), counts.bytes)
      assert.equal(server(lab, 'sent'), counts.bytes)
      assert.equal(server(lab, 'accepted'), 32)
      assert.equal(latency.total, counts.exchanges)
      assert.equal(counts.sentWrong + counts.forwarded, 0)
      for (const queue of queues) assert(queue.counts.exchanges > 0, `cpu ${queue.cpu} has its share`)
      assertBalance(lab)
    })
  }
})

test('a load that rests has nothing under way, and goes on when it is told to run', () => {
  for (const workload of ['exchange', 'short', 'udp', 'bulk-in'] as const) {
    underLoad({ workload }, (lab) => {
      lab.run(SECOND / 5)
      const rested = rest(lab)
      assert.deepEqual(lab.run(SECOND / 5).counts, rested.counts, workload)
      assert(rested.counts.sent > 1000)
      tellLoad(lab.machine.memory, lab.load, 'run')
      const again = lab.run(SECOND / 5)
      assert(again.counts.sent > rested.counts.sent * 1.5, workload)
      rest(lab)
      assertBalance(lab)
    })
  }
})

test('a load waits until it is told to begin, where it is asked to', () => {
  underLoad({ workload: 'exchange', begins: false }, (lab) => {
    assert.equal(lab.run(SECOND / 10).counts.sent, 0)
    tellLoad(lab.machine.memory, lab.load, 'run')
    assert(lab.run(SECOND / 10).counts.exchanges > 1000)
    rest(lab)
    assertBalance(lab)
  })
})

test('clients that come before the server try again', () => {
  underLoad(
    { workload: 'exchange' },
    (lab) => {
      const early = lab.run(SECOND / 5)
      assert.equal(early.ready, false)
      assert(early.counts.refused >= 32)
      lab.serve()
      const { ready, counts } = lab.run(SECOND / 5)
      assert(ready)
      assert.equal(counts.open, 32)
      assert(counts.exchanges > 1000)
      rest(lab)
      assertBalance(lab)
    },
    { listens: false },
  )
})

test('sixteen thousand connections are opened without an overflow of any backlog', () => {
  underLoad({ workload: 'exchange', connections: 16384, offered: 1000 }, (lab) => {
    while (!lab.read().ready && lab.machine.clock.now() < 10 * SECOND) lab.run(SECOND / 10)
    assert.equal(lab.read().counts.open, 16384)
    assert.equal(tcp(lab, 'backlogFull'), 0)
    lab.run(SECOND / 5)
    rest(lab)
    assertBalance(lab)
  })
})

test('bulk goes in as fast as the server reads it, and all of it is acknowledged', () => {
  underLoad(
    { workload: 'bulk-in', connections: 8 },
    (lab) => {
      const busy = lab.run(SECOND * PART)
      assert(busy.counts.bytes > 10e6, `${busy.counts.bytes} bytes`)
      const { counts } = rest(lab)
      assert.equal(counts.bytes, server(lab, 'received'))
      assert.equal(counts.bytes % 1460, 0)
      assert.equal(tcp(lab, 'droppedChecksum'), 0)
      assertBalance(lab)
    },
    COARSE,
  )
})

test('bulk that comes out is acknowledged, and an acknowledgment is for two segments or more', () => {
  underLoad(
    { workload: 'bulk-out', connections: 8 },
    (lab) => {
      assert(lab.run(SECOND).counts.bytes > 10e6)
      const { counts } = rest(lab)
      assert(counts.acknowledgments <= counts.received / 2 + 100, `${counts.acknowledgments} of ${counts.received}`)
      assert.equal(counts.bytes, server(lab, 'sent'))
      assert.equal(tcp(lab, 'retransmitted'), 0)
      assertBalance(lab)
    },
    COARSE,
  )
})

test('short connections are opened, used and closed by both ends, one after the other', () => {
  underLoad({ workload: 'short' }, (lab) => {
    const busy = lab.run(SECOND)
    assert(busy.counts.closes > 2000, `${busy.counts.closes} connections`)
    const { counts, latency } = rest(lab)
    assert.equal(counts.connects, counts.closes)
    assert.equal(counts.exchanges, counts.closes)
    assert.equal(latency.total, counts.closes)
    assert.equal(server(lab, 'accepted'), counts.closes)
    assert.equal(server(lab, 'closed'), counts.closes)
    assert.equal(server(lab, 'errors'), 0)
    assertBalance(lab)
  })
})

test('datagrams are echoed, as many at a time as are wished', () => {
  underLoad({ workload: 'udp', outstanding: 4, bytes: 200 }, (lab) => {
    const busy = lab.run(SECOND)
    assert(busy.counts.exchanges > 10_000 * PART, `${busy.counts.exchanges} datagrams`)
    assert(busy.counts.asked - busy.counts.exchanges <= 4 * 32)
    const { counts, latency } = rest(lab)
    assert.equal(counts.asked, counts.exchanges)
    assert.equal(total(lab.machine.memory, EchoCounters, 'echoed'), counts.exchanges)
    assert.equal(latency.total, counts.exchanges)
    assertBalance(lab)
  })
})

test('with offloads nobody computes a checksum, and everything goes on as without', () => {
  for (const workload of ['exchange', 'bulk-in', 'bulk-out', 'short', 'udp'] as const) {
    underLoad({ workload, offload: true }, (lab) => {
      const { counts } = lab.run(SECOND / 20)
      assert(counts.bytes > 20_000, `${workload} ${counts.bytes} bytes`)
      rest(lab)
      assertBalance(lab)
    })
  }
})

test('the share of packets that come by the wrong queue is the one that was wished', () => {
  for (const wrong of [0.1, 0.5, 1]) {
    for (const workload of ['exchange', 'udp', 'short', 'bulk-in', 'bulk-out'] as const) {
      underLoad({ workload, wrong, connections: 80, cpus: [0, 1] }, (lab) => {
        lab.run(PART * (workload.startsWith('bulk') ? SECOND / 50 : SECOND / 2))
        const { counts } = rest(lab)
        assert(counts.bytes > 20_000, `${workload} ${counts.bytes} bytes`)
        const share = counts.sentWrong / counts.sent
        // Of bulk it is a share of the connections, and how much each moves is up to the server.
        const most = workload.startsWith('bulk') ? 0.3 : 0.03
        assert(Math.abs(share - wrong) <= most, `${workload}: ${share} of ${wrong}`)
        assert(counts.forwarded > 0)
        assertRepliesHome(lab)
        assert.equal(counts.asked, counts.exchanges, workload)
        if (workload === 'udp') assert.equal(total(lab.machine.memory, EchoCounters, 'echoed'), counts.exchanges)
        assertBalance(lab)
      })
    }
  }
})

test('an open loop asks at the rate that was wished, within two percent', () => {
  for (const workload of ['exchange', 'short', 'udp'] as const) {
    for (const offered of [2000, 20_000]) {
      underLoad({ workload, offered, connections: 200 }, (lab) => {
        lab.run(SECOND / 10)
        const before = lab.read()
        const us = 20_000 / offered < 2 ? 2 * SECOND : 5 * SECOND
        const after = lab.run(us)
        const rate = ((after.counts.exchanges - before.counts.exchanges) / us) * SECOND
        // Two queues. A Poisson process of n events has a deviation of their root: 0.7 percent of 20 000.
        assert(Math.abs(rate / (2 * offered) - 1) < 0.02, `${workload}: ${rate} of ${2 * offered} a second`)
        const { counts, latency } = rest(lab)
        assert.equal(counts.exchanges, counts.asked, workload)
        assert.equal(latency.total, counts.exchanges)
        assertBalance(lab)
      })
    }
  }
})

test('questions of an open loop that find no connection free wait, and their latency says so', () => {
  const p90 = (connections: number) => {
    let high = 0
    underLoad({ workload: 'exchange', offered: 3000, connections, cpus: [0] }, (lab) => {
      lab.run(SECOND / 2)
      high = rest(lab).latency.quantile(0.9)
      assertBalance(lab)
    })
    return high
  }
  const [crowded, ample] = [p90(1), p90(64)]
  assert(crowded > 1.2 * ample, `${crowded} with one, ${ample} with many`)
})

test('mbufs balance while the load rests, and memory is not used up in a long run', () => {
  underLoad({ workload: 'short', connections: 8 }, (lab) => {
    lab.run(SECOND)
    rest(lab)
    // Passive IPIs bring the last ones home in the next turns.
    const live = () =>
      total(lab.machine.memory, MbufCounters, 'allocated') - total(lab.machine.memory, MbufCounters, 'freed')
    assert.equal(live(), 0)
  })
})

test('a machine that stops in the middle of a load leaves nothing behind', () => {
  // None of it goes wrong: packets on their way from CPU to CPU when the machine stops would be left in the rings.
  for (const workload of ['exchange', 'bulk-in', 'bulk-out', 'short', 'udp'] as const) {
    underLoad({ workload }, (lab) => assert(lab.run((PART * SECOND) / 20).counts.sent > 0, workload))
  }
})
