// Where one of N chains is taken: which origins are, how often, and what neither begins a chain nor is drawn into one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno } from '../src/base/errno.ts'
import { f64 } from '../src/base/struct.ts'
import { noteArrival } from '../src/device/arrival.ts'
import { Mbuf, Mbufs } from '../src/device/mbuf.ts'
import type { Cpu } from '../src/kernel/cpu.ts'
import { define } from '../src/kernel/function.ts'
import { EASYNC, message } from '../src/kernel/message.ts'
import type { Thread } from '../src/kernel/thread.ts'
import type { Chain } from '../src/kernel/trace/chain.ts'
import { setPortTraceMode, setTraceMode, type TraceMode } from '../src/kernel/trace/mode.ts'
import { InlineMachine } from '../src/machine/inline.ts'
import { simulate } from '../src/machine/sim.ts'
import { NodeLoop } from '../src/node/loop.ts'

/** One of so many that it is none. */
const HARDLY_ANY = 1_000_000_000
const Ask = message('ask of an origin', { value: f64 })

const kinds = ({ hops }: Chain) => hops.map(({ kind }) => kind)

async function run(cpus: number, trace: TraceMode, untilUs: number, program: (cpu: Cpu) => void): Promise<void> {
  const machine = simulate({ cpus, seed: 1, memoryBytes: 8 * 1024 * 1024, trace, program: program as never })
  machine.run({ untilUs })
  await machine.stop()
}

function send(cpu: Cpu, port: string): void {
  cpu.ports.send(cpu.ports.lookup(port), cpu.ports.allocate(Ask))
}

/** The port `there`: `arrived` is told of each message whether it is in a chain. */
function receive(cpu: Cpu, arrived: (isTaken: boolean) => void): void {
  cpu.ports.create({
    name: 'there',
    handler: () => {
      arrived(cpu.tracer.where().hops.length > 0)
      return 0
    },
  })
}

/** Calls `run` every `us` from a timer that nothing has caused. */
function every(cpu: Cpu, us: number, run: () => void): void {
  cpu.timers.after(us, () => {
    every(cpu, us, run)
    run()
  })
}

test('with 1/N an origin whose first message is a call on its own CPU is taken with what that sends on, as with all', async () => {
  let arrived = 0
  let taken = 0
  await run(2, 4, 200_000, (cpu) => {
    if (cpu.index === 1) {
      receive(cpu, (isTaken) => {
        arrived++
        if (isTaken) taken++
      })
      return
    }
    cpu.ports.create({
      name: 'here',
      handler: () => {
        send(cpu, 'there')
        return 0
      },
    })
    cpu.threads.start('sender', function* (thread) {
      yield* thread.until(() => cpu.ports.find('there') !== undefined)
      for (let i = 0; i < 200; i++) {
        yield* thread.delay(300)
        send(cpu, 'here')
      }
    })
  })
  assert.equal(arrived, 200)
  assert.ok(taken > 0, `${taken} of ${arrived}: the call takes the chance, and nothing follows from a call`)
})

const slotsOfAbort = new WeakMap<Cpu, () => void>()

const ABORT = define('origins.abort', (cpu) => slotsOfAbort.get(cpu)!())

test('with 1/N the abort of a message that was taken is a hop of its chain, whoever asks for it', async () => {
  let chain: Chain | undefined
  await run(1, 'all', 100_000, (cpu) => {
    let held = 0
    cpu.ports.create({
      name: 'slow',
      dispatch: 'deferred',
      handler: (m) => {
        held = m
        return EASYNC
      },
    })
    slotsOfAbort.set(cpu, () => {
      chain = cpu.tracer.where()
      cpu.ports.reply(held, Errno.EINTR)
    })
    const m = cpu.ports.allocate(Ask)
    cpu.threads.start('sender', function* (thread) {
      yield* thread.pause()
      cpu.ports.setAbort(m, ABORT)
      cpu.ports.send(cpu.ports.lookup('slow'), m)
    })
    let looks = 0
    every(cpu, 1000, () => {
      if (held === 0 || chain !== undefined) return
      setTraceMode(cpu.memory, HARDLY_ANY)
      // In a later turn, and not by the chain of this timer, which was armed when all was taken.
      if (++looks === 40) cpu.ports.abort(m)
    })
  })
  assert.ok(chain !== undefined)
  assert.deepEqual(kinds(chain).slice(0, 2), ['abort', 'send'])
})

async function withLoop(body: (cpu: Cpu, loop: NodeLoop) => Promise<void>): Promise<void> {
  const machine = new InlineMachine({ cpus: 1, memoryBytes: 8 * 1024 * 1024, seed: 1, trace: HARDLY_ANY }, undefined)
  const loop = NodeLoop.of(machine.cpu)
  loop.hold()
  try {
    await body(machine.cpu, loop)
  } finally {
    loop.release()
    await machine.stop()
  }
}

/** The number of something that was taken. */

const something = (cpu: Cpu) =>
  cpu.tracer.remote({ traceId: '1'.repeat(32), spanId: '2'.repeat(16), isSampled: true }, 0)

const until = async (done: () => boolean) => {
  while (!done()) await new Promise((resolve) => setImmediate(resolve))
}

test('a connection that is not taken is told with no chain, also behind one that is, of the same server', () =>
  withLoop(async (cpu, loop) => {
    const first = {}
    const second = {}
    const told: string[][] = []
    const server = {
      queued: false,
      trace: 0,
      deliver() {
        for (const each of [first, second]) {
          loop.toldOf(each)
          told.push(kinds(cpu.tracer.where()))
        }
      },
    }
    let isDone = false
    cpu.addPollable({
      poll() {
        if (isDone) return 0
        isDone = true
        cpu.tracer.current = something(cpu)
        loop.came(first)
        loop.queue(server)
        cpu.tracer.current = -1
        loop.came(second)
        loop.queue(server)
        return 1
      },
      flush() {},
      pending: () => !isDone,
      close() {},
    })
    loop.enter()
    await until(() => told.length > 0)
    assert.deepEqual(told, [['remote'], []])
  }))

test('what a program does of its own accord is in no chain that a callback before it has left', () =>
  withLoop(async (cpu, loop) => {
    const first = {}
    const second = {}
    let later: string[] | undefined
    const server = {
      queued: false,
      trace: 0,
      deliver() {
        loop.toldOf(second)
        loop.toldOf(first)
        // More than a slice: then the event loop goes on without another turn.
        const end = performance.now() + 5
        while (performance.now() < end);
        setTimeout(() => {
          loop.enter()
          later = kinds(cpu.tracer.where())
        }, 1)
        const end2 = performance.now() + 3
        while (performance.now() < end2);
      },
    }
    let isDone = false
    cpu.addPollable({
      poll() {
        if (isDone) return 0
        isDone = true
        // The server is told of the one that is not taken first.
        loop.came(second)
        loop.queue(server)
        cpu.tracer.current = something(cpu)
        loop.came(first)
        loop.queue(server)
        return 1
      },
      flush() {},
      pending: () => !isDone,
      close() {},
    })
    loop.enter()
    await until(() => later !== undefined)
    assert.deepEqual(later, [])
  }))

async function shareOf(n: number, rounds: number, setup: (cpu: Cpu, origin: () => void) => void): Promise<number> {
  let arrived = 0
  let taken = 0
  await run(2, n, rounds * 600, (cpu) => {
    if (cpu.index === 1) {
      receive(cpu, (isTaken) => {
        arrived++
        if (isTaken) taken++
      })
      return
    }
    cpu.threads.start('setup', function* (thread) {
      yield* thread.until(() => cpu.ports.find('there') !== undefined)
      setup(cpu, () => send(cpu, 'there'))
    })
  })
  assert.ok(arrived > rounds / 2, `${arrived}`)
  return taken / arrived
}

test('with 1/N threads that are woken and send nothing do not have others taken in their place', async () => {
  let arrived = 0
  let taken = 0
  await run(2, 20, 600_000, (cpu) => {
    if (cpu.index === 1) {
      receive(cpu, (isTaken) => {
        arrived++
        if (isTaken) taken++
      })
      cpu.threads.start('waker', function* (thread) {
        for (;;) {
          yield* thread.delay(500)
          cpu.sleepQueue.wakeup(1)
        }
      })
      return
    }
    for (let i = 0; i < 20; i++) {
      cpu.threads.start(`sleeper ${i}`, function* (thread) {
        for (;;) yield* thread.sleep(1)
      })
    }
    cpu.threads.start('sender', function* (thread) {
      yield* thread.until(() => cpu.ports.find('there') !== undefined)
      for (;;) {
        yield* thread.delay(500)
        send(cpu, 'there')
      }
    })
  })
  assert.ok(arrived > 500, `${arrived}`)
  assert.ok(taken / arrived < 0.1, `${((100 * taken) / arrived).toFixed(1)} % instead of 5 %`)
})

test('with 1/N what a thread sends between two delays is taken once in N times', async () => {
  const share = await shareOf(20, 3000, (cpu, origin) => {
    cpu.threads.start('sender', function* (thread) {
      for (;;) {
        yield* thread.delay(500)
        origin()
      }
    })
  })
  assert.ok(share < 0.075, `${(share * 100).toFixed(1)} % instead of 5 %`)
})

test('with 1/N a chain that a thread goes on with for ever comes to an end', async () => {
  const sent: number[] = []
  const taken: number[] = []
  await run(1, 60, 600_000, (cpu) => {
    let number = 0
    const loop = (i: number) =>
      function* (thread: Thread) {
        for (let k = 0; k < 200; k++) {
          yield* thread.delay(300)
          sent[i] = (sent[i] ?? 0) + 1
          if (cpu.tracer.current > 0) taken[i] = (taken[i] ?? 0) + 1
        }
      }
    for (let i = 0; i < 30; i++) {
      cpu.timers.after(1000 + 100 * i, () => {
        const me = number++
        cpu.threads.start(`t${me}`, loop(me))
      })
    }
  })
  assert.equal(sent.length, 30)
  const most = Math.max(0, ...sent.map((_, i) => taken[i] ?? 0))
  assert.ok(most > 0 && most < 150, `one thread was in a taken chain in ${most} of its 200 rounds`)
})

test('with 1/N a thread that only asks and waits for the answer is taken from time to time', async () => {
  let asked = 0
  let taken = 0
  await run(2, 5, 300_000, (cpu) => {
    if (cpu.index === 1) {
      receive(cpu, (isTaken) => {
        asked++
        if (isTaken) taken++
      })
      return
    }
    cpu.threads.start('asker', function* (thread) {
      yield* thread.until(() => cpu.ports.find('there') !== undefined)
      const m = cpu.ports.allocate(Ask)
      for (let i = 0; i < 300; i++) yield* thread.call(cpu.ports.lookup('there'), m)
    })
  })
  assert.equal(asked, 300)
  assert.ok(taken > 16 + asked / 20, `${taken} of ${asked}`)
})

test('calls from an event loop to one of its CPUs have no packets of another taken in place of others', async () => {
  const N = 50
  const machine = new InlineMachine({ cpus: 2, memoryBytes: 8 * 1024 * 1024, seed: 1, trace: N }, undefined)
  const loop = NodeLoop.of(machine.cpu)
  loop.hold()
  try {
    const other = machine.cpus[1]!
    const mbufs = Mbufs.of(other)
    const m = Mbuf.cursor(other.memory)
    let packets = 0
    let taken = 0
    let isDue = false
    other.addPollable({
      poll() {
        if (!isDue) return 0
        isDue = false
        const packet = mbufs.allocate()
        noteArrival(other.tracer, m, packet, 'device')
        packets++
        if (other.tracer.isTraced(packet)) taken++
        mbufs.free(packet)
        return 1
      },
      flush() {},
      pending: () => isDue,
      close() {},
    })
    for (let i = 0; i < 300; i++) {
      for (let k = 0; k < 60; k++) loop.enter()
      isDue = true
      loop.enter()
      await until(() => !isDue)
    }
    assert.equal(packets, 300)
    assert.ok(taken < 40, `${taken} of 300 with 1/${N}`)
  } finally {
    loop.release()
    await machine.stop()
  }
})

test('a port with an N of its own: a message that is only passed on to it begins no chain', async () => {
  let arrived = 0
  let taken = 0
  await run(1, 'off', 100_000, (cpu) => {
    cpu.ports.create({
      name: 'first',
      dispatch: 'deferred',
      handler: (m) => {
        cpu.ports.forward(cpu.ports.lookup('second'), m)
        return EASYNC
      },
    })
    cpu.ports.create({
      name: 'second',
      dispatch: 'deferred',
      handler: () => {
        arrived++
        if (cpu.tracer.where().hops.length > 0) taken++
        return 0
      },
    })
    cpu.threads.start('sender', function* (thread) {
      setPortTraceMode(cpu.memory, cpu.ports.lookup('second'), 4)
      yield* thread.delay(300)
      for (let i = 0; i < 100; i++) {
        send(cpu, 'first')
        yield* thread.delay(300)
      }
    })
  })
  assert.equal(arrived, 100)
  assert.equal(taken, 0)
})
