import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { u32 } from '../base/struct.ts'
import { Mbufs } from '../device/mbuf.ts'
import { CpuFailure } from '../machine/failure.ts'
import type { SimMachine } from '../machine/sim.ts'
import { nudge, simulated, start, sum } from '../machine/testing/sim.ts'
import { K } from './counters.ts'
import { EASYNC, message, Plain } from './message.ts'
import { NameKind } from './name.ts'
import { FREE_PORT, type Port } from './port.ts'
import { program, type Thread, type ThreadId } from './thread.ts'

const Numbered = message('test.thread.numbered', { value: u32, sender: u32 })

/** What the threads of a test that cross CPUs say, by machine: their programs are module level. */
const notes = new WeakMap<object, unknown[]>()
const note = (thread: Thread, what: unknown) => notes.get(thread.cpu.memory)!.push(what)
function noted(machine: SimMachine): unknown[] {
  const list: unknown[] = []
  notes.set(machine.memory, list)
  return list
}

program('test.hello', function* (thread, argument) {
  note(thread, [thread.cpu.index, argument])
  yield* thread.pause()
})

/** Goes round all CPUs: the argument says how many moves are left. */
program('test.traveller', function* (thread, left) {
  note(thread, [thread.cpu.index, left, thread.id, thread.port.id, thread.priority])
  if (left === 0) return
  yield* thread.pause()
  return yield* thread.migrate((thread.cpu.index + 1) % thread.cpu.cpus, left - 1)
})

/** Waits for signal 0, after which it notes all that it got. */
program('test.signalled', function* (thread) {
  const got: number[] = []
  while (!got.includes(0)) {
    yield* thread.wait({ catchSignals: true })
    for (let number = thread.takeSignal(); number >= 0; number = thread.takeSignal()) got.push(number)
  }
  note(
    thread,
    got.toSorted((a, b) => a - b),
  )
})

/** A producer: sends numbered messages to the port "sink", and moves after every few. The state is in memory. */
program('test.producer', function* (thread, state) {
  const { cpu } = thread
  const words = cpu.memory.i32
  const sink = cpu.ports.lookup('sink')
  for (let i = 1 + cpu.random.below(20); i > 0; i--) {
    const letter = cpu.ports.allocate(Numbered, FREE_PORT)
    const cursor = Numbered.cursor(cpu.memory)
    cursor.at = letter
    cursor.sender = words[(state >> 2) + 1]!
    cursor.value = words[state >> 2]!++
    if (cursor.value >= 200) {
      cpu.slab.free(letter)
      return
    }
    cpu.ports.send(sink, letter)
    if (cpu.random.chance(0.2)) yield* thread.pause()
  }
  return yield* thread.migrate(cpu.random.below(cpu.cpus), state)
})

/** A consumer that moves after every few messages. */
program('test.consumer', function* (thread, state) {
  const words = thread.cpu.memory.i32
  for (let i = 1 + thread.cpu.random.below(20); i > 0; i--) {
    const letter = yield* thread.wait()
    const cursor = Numbered.cursor(thread.cpu.memory)
    cursor.at = letter
    const next = (state >> 2) + 1 + cursor.sender
    assert.equal(cursor.value, words[next], `sender ${cursor.sender} is heard in order`)
    words[next]!++
    thread.cpu.ports.reply(letter)
    if (++words[state >> 2]! === 900) return
  }
  return yield* thread.migrate(thread.cpu.random.below(thread.cpu.cpus), state)
})

describe('thread', () => {
  test('a thread that pauses lets the others run, in turn', () => {
    const machine = simulated(1, 1)
    const order: string[] = []
    for (const name of ['a', 'b', 'c']) {
      start(machine, 0, function* (thread) {
        for (let i = 0; i < 3; i++) {
          order.push(name)
          yield* thread.pause()
        }
      })
    }
    machine.run()
    assert.equal(order.join(''), 'abcabcabc')
    assert.equal(machine.cpus[0]!.threads.size, 0)
    void machine.stop()
  })

  test('of ready threads the one of the higher priority runs first, and none of them starves the others', () => {
    const machine = simulated(1, 1)
    const order: number[] = []
    for (const priority of [3, 1, 0, 2]) {
      const run = function* (thread: Thread) {
        for (let i = 0; i < 3; i++) {
          order.push(priority)
          yield* thread.pause()
        }
      }
      start(machine, 0, run, priority)
    }
    machine.run()
    assert.equal(order.join(''), '012301230123')
    void machine.stop()
  })

  test('a thread serves the handlers of the ports that it was given, in batches, and the run loop does not', () => {
    const machine = simulated(1, 1)
    const cpu = machine.cpus[0]!
    const { ports } = cpu
    const served: string[] = []
    const given: Port[] = []
    const server = cpu.threads.start('server', (self) => self.serve(given), 0, 2)
    const make = (name: string, batch: number, then?: Port) => {
      const handler = () => {
        assert.equal(cpu.threads.current, server)
        served.push(name)
        if (then !== undefined) ports.send(then.id, ports.allocate(Plain))
        return 0
      }
      const port = ports.create({ handler })
      ports.handTo(port, server, batch)
      given.push(port)
      return port
    }
    const behind = make('behind', 8)
    const front = make('front', 2, behind)
    machine.run()
    const switches = sum(machine, 'contextSwitches')
    // Not even where nothing waits is it a call.
    for (let i = 0; i < 5; i++) ports.send(front.id, ports.allocate(Plain))
    assert.deepEqual([served.length, ports.depth(front), ports.depthOf(front.id)], [0, 5, 5])
    nudge(machine, 0)
    machine.run()
    assert.equal(served.filter((name) => name === 'front').length, 5)
    assert.equal(served.filter((name) => name === 'behind').length, 5)
    // Two at a time, and what they put behind is served with the next.
    assert.equal(sum(machine, 'contextSwitches') - switches, 4)
    assert.equal(ports.depth(front) + ports.depth(behind), 0)
    void machine.stop()
  })

  test('what waits at a port when the machine stops is freed, whatever it is and whoever wanted an answer', () => {
    const machine = simulated(1, 1)
    const cpu = machine.cpus[0]!
    const { ports } = cpu
    const port = ports.create({ dispatch: 'deferred', handler: () => 0 })
    const replies = ports.create({})
    cpu.onStop(() => ports.discard(port))
    ports.send(port.id, ports.allocate(Plain, FREE_PORT))
    ports.send(port.id, ports.allocate(Plain, replies.id))
    Mbufs.of(cpu).handOff(port.id, Mbufs.of(cpu).copyFrom(new Uint8Array(5000)))
    void machine.stop()
    assert.equal(ports.depth(port) + ports.depth(replies), 0)
    assert.equal(cpu.slab.live, 0)
  })

  test('a delay lasts as long as it says, and no more than a tick and two turns longer', () => {
    const machine = simulated(2, 1)
    const times: number[] = []
    start(machine, 0, function* (thread) {
      for (const us of [0, 1, 5000, 1e6]) {
        const began = thread.cpu.now
        yield* thread.delay(us)
        times.push(thread.cpu.now - began - us)
      }
    })
    machine.run()
    assert.equal(times.length, 4)
    for (const late of times) assert.ok(late >= 0 && late <= 128 + 100, `${times}`)
    assert.equal(machine.cpus[0]!.slab.live, 0)
    void machine.stop()
  })

  test('a call comes back with the answer, from a handler and from a thread, here and elsewhere', () => {
    const machine = simulated(2, 2)
    const answers: number[] = []
    for (const cpu of machine.cpus) {
      cpu.ports.create({ name: `handler ${cpu.index}`, handler: () => 10 + cpu.index })
      const server = start(machine, cpu.index, function* (thread) {
        for (let i = 0; i < 2; i++) {
          const request = yield* thread.wait()
          yield* thread.pause()
          cpu.ports.reply(request, 20 + cpu.index)
        }
      })
      cpu.names.add(`thread ${cpu.index}`, server.port.id, NameKind.port)
    }
    for (const cpu of machine.cpus) {
      start(machine, cpu.index, function* (thread) {
        const request = cpu.ports.allocate(Plain, thread.port.id)
        for (const name of ['handler 0', 'handler 1', 'thread 0', 'thread 1']) {
          answers.push(yield* thread.call(cpu.ports.lookup(name), request))
        }
        cpu.slab.free(request)
      })
    }
    machine.run()
    assert.deepEqual(answers.toSorted(), [10, 10, 11, 11, 20, 20, 21, 21])
    void machine.stop()
  })

  test('a wait for a message ends after its time, and a message in time ends it', () => {
    const machine = simulated(2, 3)
    const got: number[] = []
    const waiter = start(machine, 0, function* (thread) {
      got.push(yield* thread.wait({ timeoutUs: 1000 }))
      assert.ok(thread.cpu.now >= 1000)
      const letter = yield* thread.wait({ timeoutUs: 1e9 })
      got.push(letter === 0 ? 0 : 1)
      thread.cpu.ports.reply(letter)
    })
    start(machine, 1, function* (thread) {
      yield* thread.delay(5000)
      thread.cpu.ports.send(waiter.port.id, thread.cpu.ports.allocate(Plain))
    })
    machine.run()
    assert.deepEqual(got, [0, 1])
    assert.ok(machine.clock.now() < 1e6, 'the timeout was taken back')
    assert.equal(machine.cpus[0]!.timers.armed, 0)
    void machine.stop()
  })

  test('a signal ends a wait that catches it, and only such a wait', () => {
    const machine = simulated(2, 4)
    const order: string[] = []
    const deaf = start(machine, 0, function* (thread) {
      yield* thread.wait()
      order.push('deaf thread got its message')
    })
    const masked = start(machine, 0, function* (thread) {
      thread.mask = 1 << 3
      assert.equal(yield* thread.wait({ catchSignals: true }), 0)
      order.push(`masked thread got ${thread.takeSignal()}`)
    })
    start(machine, 1, function* (thread) {
      const { signals, ports } = thread.cpu
      signals.send(deaf.id, 3)
      signals.send(masked.id, 3)
      yield* thread.delay(1000)
      order.push('later')
      signals.send(masked.id, 4)
      yield* thread.delay(1000)
      ports.send(deaf.port.id, ports.allocate(Plain))
    })
    machine.run()
    assert.deepEqual(order, ['later', 'masked thread got 4', 'deaf thread got its message'])
    void machine.stop()
  })

  test('a signal to a thread that waits for an answer asks once for the abort, and the wait goes on until there is one', () => {
    const machine = simulated(2, 5)
    const [a, b] = machine.cpus
    let kept = 0
    const port = b!.ports.create({
      handler: (letter) => {
        kept = letter
        return EASYNC
      },
    })
    let answer = -1
    let began = 0
    const caller = start(machine, 0, function* (thread) {
      const letter = a!.ports.allocate(Plain, thread.port.id)
      answer = yield* thread.call(port.id, letter, { catchSignals: true })
      began = thread.cpu.now
    })
    start(machine, 1, function* (thread) {
      yield* thread.delay(1000)
      thread.cpu.signals.send(caller.id, 1)
      yield* thread.delay(1000)
      assert.equal(answer, -1, 'the caller still waits')
      thread.cpu.ports.reply(kept, Errno.EINTR)
    })
    machine.run()
    assert.equal(answer, Errno.EINTR)
    assert.ok(began >= 2000)
    void machine.stop()
  })

  test('a registered program starts on any CPU with its argument, and an unknown one is refused', () => {
    const machine = simulated(3, 6)
    const said = noted(machine)
    const ids: ThreadId[] = []
    start(machine, 1, function* (thread) {
      for (const target of [0, 1, 2]) ids.push(thread.cpu.threads.startOn(target, 'test.hello', 0x12345678 + target))
      assert.throws(
        () => thread.cpu.threads.startOn(0, 'test.helo'),
        (error) => error instanceof KernelError && error.code === 'ENOENT' && /"test.hello"/.test(error.message),
      )
      assert.throws(
        () => thread.cpu.threads.startOn(3, 'test.hello'),
        (error) => error instanceof KernelError && error.code === 'EINVAL' && /0 to 2/.test(error.message),
      )
    })
    machine.run()
    assert.deepEqual(said.toSorted(), [
      [0, 0x12345678],
      [1, 0x12345679],
      [2, 0x1234567a],
    ])
    for (const id of ids) assert.equal(machine.cpus[0]!.threads.home(id), -1, 'ended')
    void machine.stop()
  })

  test('numbers of ended threads are used again, also of those that ended on another CPU', () => {
    const machine = simulated(2, 7)
    const said = noted(machine)
    const count = Limits.threadsPerCpu * 3
    start(machine, 0, function* (thread) {
      for (let i = 0; i < count; i++) {
        thread.cpu.threads.startOn(1, 'test.hello', i)
        if (i % 100 === 99) yield* thread.until(() => sum(machine, 'threadsExited') > i)
      }
    })
    machine.run()
    assert.equal(said.length, count)
    void machine.stop()
  })

  test('the numbers and the ports of threads that moved and ended are used again', () => {
    const machine = simulated(2, 7)
    const said = noted(machine)
    const count = Limits.threadsPerCpu + 200
    start(machine, 0, function* (thread) {
      for (let i = 0; i < count; i++) {
        const id = thread.cpu.threads.startOn(0, 'test.traveller', 1)
        yield* thread.until(() => thread.cpu.threads.home(id) < 0)
      }
    })
    machine.run()
    assert.equal(said.length, 2 * count)
    void machine.stop()
  })

  test('threads are bounded, and the bound says so', () => {
    const machine = simulated(2, 1)
    const { threads } = machine.cpus[1]!
    assert.throws(
      () => {
        for (;;) threads.start('waits', (thread) => thread.delay(1e6))
      },
      (error) => error instanceof KernelError && error.code === 'ENFILE',
    )
    assert.equal(threads.size, Limits.threadsPerCpu)
    void machine.stop()
  })

  test('a thread that moves stays itself: its number, port, priority and argument go with it', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const machine = simulated(3, seed, { stall: 0.05 })
      const said = noted(machine)
      const id = machine.cpus[1]!.threads.startOn(1, 'test.traveller', 7)
      machine.run()
      const [, , , port] = said[0] as number[]
      const expected = [7, 6, 5, 4, 3, 2, 1, 0].map((left, i) => [(1 + i) % 3, left, id, port, 1])
      assert.deepEqual(said, expected)
      assert.equal(sum(machine, 'threadsMigrated'), 7)
      assert.equal(machine.cpus[0]!.threads.home(id), -1)
      assert.deepEqual(
        machine.cpus.map((cpu) => cpu.threads.size),
        [0, 0, 0],
      )
      void machine.stop()
    }
  })

  test('a priority goes with its thread', () => {
    const machine = simulated(2, 1)
    const said = noted(machine)
    const { run } = {
      run: program('test.prior', function* (thread, left) {
        note(thread, thread.priority)
        if (left > 0) return yield* thread.migrate(1, left - 1)
      }),
    }
    machine.cpus[0]!.threads.start('test.prior', run, 1, 3)
    machine.run()
    assert.deepEqual(said, [3, 3])
    void machine.stop()
  })

  test('a thread whose program has no registered name, or a CPU that is not there: it cannot move', () => {
    const machine = simulated(2, 1)
    const sentences: string[] = []
    start(machine, 0, function* (thread) {
      for (const target of [1, 5]) {
        try {
          yield* thread.migrate(target, 0)
        } catch (error) {
          assert.ok(error instanceof KernelError && error.code === 'EINVAL')
          sentences.push(error.message)
        }
      }
    })
    machine.run()
    assert.match(sentences[0]!, /not registered by program/)
    assert.match(sentences[1]!, /there is no cpu 5: this machine has 0 to 1/)
    void machine.stop()
  })

  test('signals follow a thread that moves, from whatever CPU and however early they come', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const machine = simulated(4, seed, { stall: 0.1 })
      const said = noted(machine)
      start(machine, 0, function* (thread) {
        const id = thread.cpu.threads.startOn(3, 'test.signalled')
        // The other CPUs learn the number before the thread has begun.
        for (const cpu of [1, 2]) {
          start(machine, cpu, function* (other) {
            other.cpu.signals.send(id, cpu)
            other.cpu.threads.schedule(id)
            yield* other.pause()
            other.cpu.signals.send(id, cpu + 10)
          })
          nudge(machine, cpu)
        }
        yield* thread.delay(5000)
        thread.cpu.signals.send(id, 0)
      })
      machine.run()
      assert.deepEqual(said, [[0, 1, 2, 11, 12]], `seed ${seed}`)
      void machine.stop()
    }
  })

  test('an exception in a thread stops the machine and names the thread', () => {
    const machine = simulated(2, 1)
    start(machine, 1, function* (thread) {
      yield* thread.pause()
      throw new Error('lost my way')
    })
    assert.throws(
      () => machine.run(),
      (error) =>
        error instanceof CpuFailure && error.cpu === 1 && /in thread \d+ "test 1": lost my way/.test(error.message),
    )
  })

  test('when the machine stops the `finally` blocks of all threads run, also when one of them throws', async () => {
    const machine = simulated(2, 1)
    const ended: number[] = []
    for (const i of [0, 1, 2]) {
      start(machine, 0, function* (thread) {
        try {
          yield* thread.delay(1e9)
        } finally {
          ended.push(i)
          if (i === 1) assert.fail('I do not want to go')
        }
      })
    }
    machine.run({ untilUs: 1000 })
    await assert.rejects(
      machine.stop(),
      (error) =>
        error instanceof CpuFailure && error.cpu === 0 && /while it stopped: I do not want to go/.test(error.message),
    )
    assert.deepEqual(ended, [0, 1, 2])
  })

  test('a thread that ends with a token it has not given back is a bug', () => {
    const machine = simulated(1, 1)
    start(machine, 0, function* (thread) {
      thread.tokens.push({ suspend: () => {}, resume: () => true } as never)
    })
    assert.throws(
      () => machine.run(),
      (error) => error instanceof CpuFailure && error.cause instanceof AssertionFailure,
    )
  })

  describe('bugs of others', () => {
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) {
      test(`reordering when a producer migrates: its stream arrives in order, wherever it sends from (seed ${seed})`, () => {
        const machine = simulated(4, seed, { ringEntries: 16, stall: 0.05 })
        const expected = [0, 0]
        const cursor = Numbered.cursor(machine.memory)
        machine.cpus[2]!.ports.create({
          name: 'sink',
          handler: (letter) => {
            cursor.at = letter
            assert.equal(cursor.value, expected[cursor.sender]!++, `producer ${cursor.sender}`)
            return 0
          },
        })
        for (const sender of [0, 1]) {
          const cpu = machine.cpus[sender]!
          const state = cpu.slab.allocate(64) + 8
          machine.memory.i32[state >> 2] = 0
          machine.memory.i32[(state >> 2) + 1] = sender
          cpu.threads.startOn(sender, 'test.producer', state)
        }
        machine.run()
        assert.deepEqual(expected, [200, 200])
        assert.ok(sum(machine, 'threadsMigrated') > 10)
        void machine.stop()
      })

      test(`a port that moves with its thread while others send to it: nothing is lost, refused or reordered (seed ${seed})`, () => {
        const machine = simulated(4, seed, { stall: 0.05 })
        const home = machine.cpus[1]!
        const state = home.slab.allocate(64) + 8
        machine.memory.i32.fill(0, state >> 2, (state >> 2) + 8)
        const id = home.threads.startOn(1, 'test.consumer', state)
        const { port } = home.threads.local(id)!
        const refused: number[] = []
        for (const sender of [0, 1, 2]) {
          const cpu = machine.cpus[sender]!
          const replies = cpu.ports.create({
            onReply: (letter) => {
              if (cpu.ports.error(letter) !== 0) refused.push(cpu.ports.error(letter))
              cpu.slab.free(letter)
            },
          })
          start(machine, sender, function* (thread) {
            for (let i = 0; i < 300; i++) {
              const letter = cpu.ports.allocate(Numbered, replies.id)
              const cursor = Numbered.cursor(machine.memory)
              cursor.at = letter
              cursor.sender = sender
              cursor.value = i
              cpu.ports.send(port.id, letter)
              if (cpu.random.chance(0.5)) yield* thread.pause()
            }
          })
        }
        machine.run()
        assert.deepEqual([...machine.memory.i32.subarray(state >> 2, (state >> 2) + 4)], [900, 300, 300, 300])
        assert.deepEqual(refused, [])
        assert.ok(sum(machine, 'threadsMigrated') > 10)
        assert.equal(
          machine.cpus.reduce((n, cpu) => n + cpu.count[K.orderViolations]!, 0),
          0,
        )
        void machine.stop()
      })
    }
  })
})
