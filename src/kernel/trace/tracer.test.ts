// Chains through everything that messages can do, in the simulator: what was sent from where is told wherever it has come to.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { f64 } from '../../base/struct.ts'
import { simulate } from '../../machine/sim.ts'
import { total } from '../counters.ts'
import type { Cpu } from '../cpu.ts'
import { define } from '../function.ts'
import { EASYNC, message } from '../message.ts'
import { program, type Thread } from '../thread.ts'
import { Timer } from '../timer.ts'
import { type Chain, chainText } from './chain.ts'
import { setPortTraceMode, setTraceMode, traceMode } from './mode.ts'
import { ChainReader } from './reader.ts'
import { TraceCounters } from './tracer.ts'
import { decodeChain, encodeChain } from './wire.ts'

const Ask = message('ask for a trace', { value: f64 })

type Setup = (cpu: Cpu) => void

function run(
  cpus: number,
  setup: Setup,
  options: { trace?: 'all' | 'exact' | 'off' | number; traceRecords?: number; seed?: number } = {},
) {
  const machine = simulate({
    cpus,
    seed: 1,
    memoryBytes: 8 * 1024 * 1024,
    trace: 'all',
    ...options,
    program: setup as never,
  })
  machine.run({ untilUs: 100_000 })
  return machine
}

const kinds = (chain: Chain) => chain.hops.map(({ kind, cpu }) => `${kind} ${cpu}`)
const functions = (chain: Chain) => chain.hops.map(({ frames }) => frames[0]?.function ?? '')

function sendAsk(cpu: Cpu, port: string): Address {
  const m = cpu.ports.allocate(Ask)
  cpu.ports.send(cpu.ports.lookup(port), m)
  return m
}

/** A port "keeper", which answers nothing by itself: gives the message that it has. */
function keeper({ ports }: Cpu): () => Address {
  let kept: Address = 0
  ports.create({
    name: 'keeper',
    handler: (m) => {
      kept = m
      return EASYNC
    },
  })
  return () => kept
}

test('a message tells who sent it, from where in the source, and when, on another CPU', async () => {
  let chain: Chain | undefined
  let text = ''
  const machine = run(2, (cpu) => {
    if (cpu.index === 1) {
      cpu.ports.create({
        name: 'there',
        handler: () => {
          chain = cpu.tracer.where()
          text = cpu.tracer.text()
          return 0
        },
      })
      return
    }
    cpu.threads.start('asker', function* asking(thread) {
      yield* thread.until(() => cpu.ports.find('there') !== undefined)
      sendAsk(cpu, 'there')
    })
  })
  await machine.stop()
  assert.ok(chain !== undefined)
  assert.deepEqual(kinds(chain), ['send 0', 'thread 0'])
  assert.equal(chain.end, 'origin')
  const [hop] = chain.hops
  assert.equal(hop?.to, 'there')
  assert.deepEqual(functions(chain)[0], 'sendAsk')
  const caller = hop?.frames[1]
  assert.match(caller?.function ?? '', /asking/)
  assert.match(
    caller?.file ?? '',
    /src\/kernel\/trace\/tracer\.test\.ts$/,
    'the place is that of the TypeScript source',
  )
  assert.match(
    text,
    /^sent by cpu 0 on port there, [\d.]+ [µm]s earlier:\n {4}at sendAsk \(.*tracer\.test\.ts:\d+:\d+\)/,
  )
  assert.match(text, /thread started by cpu 0/)
})

test('a call, its forward and its answer are a chain over three CPUs', async () => {
  let atSecond: Chain | undefined
  let atThird: Chain | undefined
  let back: Chain | undefined
  const machine = run(3, (cpu) => {
    if (cpu.index === 1) {
      cpu.ports.create({
        name: 'second',
        handler: function second(m) {
          atSecond = cpu.tracer.where()
          cpu.ports.forward(cpu.ports.lookup('third'), m)
          return EASYNC
        },
      })
    } else if (cpu.index === 2) {
      cpu.ports.create({
        name: 'third',
        handler: function third(m) {
          atThird = cpu.tracer.where()
          cpu.ports.reply(m, 7)
          return EASYNC
        },
      })
    } else {
      cpu.threads.start('caller', function* calling(thread) {
        yield* thread.until(() => cpu.ports.find('second') !== undefined && cpu.ports.find('third') !== undefined)
        const m = cpu.ports.allocate(Ask)
        const error = yield* thread.call(cpu.ports.lookup('second'), m)
        assert.equal(error, 7)
        back = cpu.tracer.where()
        cpu.slab.free(m)
      })
    }
  })
  await machine.stop()
  assert.deepEqual(kinds(atSecond!), ['call 0', 'thread 0'])
  assert.deepEqual(kinds(atThird!), ['forward 1', 'call 0', 'thread 0'])
  assert.deepEqual(kinds(back!), ['reply 2', 'forward 1', 'call 0', 'thread 0'])
  assert.match(functions(back!)[0]!, /third/)
  assert.match(functions(back!)[1]!, /second/)
  assert.match(functions(back!)[2]!, /calling/)
})

test('what a direct call keeps is told with the stack of its sender, and what it answers at once costs none', async () => {
  let kept: Chain | undefined
  const machine = run(1, (cpu) => {
    let held = 0
    cpu.ports.create({
      name: 'keeper',
      handler: (m) => {
        held = m
        return EASYNC
      },
    })
    cpu.ports.create({ name: 'answerer', handler: () => 0 })
    cpu.threads.start('sender', function* (thread) {
      sendAsk(cpu, 'answerer')
      sendAsk(cpu, 'keeper')
      yield* thread.pause()
      kept = cpu.tracer.whence(held)
      cpu.ports.reply(held)
    })
  })
  await machine.stop()
  assert.equal(functions(kept!)[0], 'sendAsk')
  // The thread's start, and the kept message: not the one that was answered.
  assert.equal(total(machine.memory, TraceCounters, 'stacks'), 2)
})

test('a timer fires with the stack that armed it, also anew, and a cancelled one leaves nothing', async () => {
  const chains: Chain[] = []
  const machine = run(1, (cpu) => {
    cpu.threads.start('arming', function* (thread) {
      cpu.timers.after(1000, () => chains.push(cpu.tracer.where()))
      cpu.timers.after(500, () => chains.push(cpu.tracer.where()))()
      yield* thread.delay(5000)
      chains.push(cpu.tracer.where())
    })
  })
  await machine.stop()
  assert.equal(chains.length, 2)
  assert.deepEqual(kinds(chains[0]!), ['timer 0', 'thread 0'])
  assert.deepEqual(kinds(chains[1]!), ['thread 0'], 'a thread that slept goes on with its own cause')
})

test('a wakeup, an IPI and a thread that was started elsewhere know their cause', async () => {
  const chains: { [name: string]: Chain } = {}
  const machine = run(2, (cpu) => {
    slots.set(cpu, chains)
    if (cpu.index === 1) {
      cpu.threads.start('sleeper', function* (thread) {
        yield* thread.sleep(77)
        chains.woken = cpu.tracer.where()
      })
      return
    }
    cpu.threads.start('waker', function* waking(thread) {
      yield* thread.delay(1000)
      cpu.sleepQueue.wakeup(77)
      cpu.ipi.send(1, LOOK)
      cpu.threads.startOn(1, 'trace.looker')
    })
  })
  await machine.stop()
  assert.deepEqual(kinds(chains.woken!), ['ipi 0', 'wakeup 0', 'thread 0'])
  assert.match(functions(chains.woken!)[1]!, /waking/)
  assert.deepEqual(kinds(chains.ipi!), ['ipi 0', 'thread 0'])
  assert.equal(chains.ipi!.hops[0]!.to, 'trace.look')
  assert.deepEqual(kinds(chains.started!), ['ipi 0', 'thread 0'])
})

const slots = new WeakMap<Cpu, { [name: string]: Chain }>()
const LOOK = define('trace.look', (cpu) => {
  slots.get(cpu)!.ipi = cpu.tracer.where()
})
program('trace.looker', function* (thread: Thread) {
  yield* thread.pause()
  slots.get(thread.cpu)!.started = thread.cpu.tracer.where()
})
program('trace.mover', function* (thread: Thread, step: number) {
  if (step === 0) return yield* thread.migrate(1, 1)
  slots.get(thread.cpu)!.moved = thread.cpu.tracer.where()
})

test('a thread that migrates takes its chain with it', async () => {
  const chains: { [name: string]: Chain } = {}
  const machine = run(2, (cpu) => {
    slots.set(cpu, chains)
    if (cpu.index === 0) cpu.threads.startOn(0, 'trace.mover')
  })
  await machine.stop()
  assert.ok(chains.moved !== undefined)
  assert.deepEqual(kinds(chains.moved).slice(0, 2), ['ipi 0', 'migrate 0'])
})

test('an abort is told with who asked for it and who had sent the message', async () => {
  let chain: Chain | undefined
  const machine = run(1, (cpu) => {
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
    cpu.threads.start('aborter', function* aborting(thread) {
      const m = cpu.ports.allocate(Ask)
      cpu.ports.setAbort(m, ABORT)
      cpu.ports.send(cpu.ports.lookup('slow'), m)
      yield* thread.until(() => held !== 0)
      cpu.ports.abort(m)
    })
  })
  await machine.stop()
  assert.deepEqual(kinds(chain!), ['abort 0', 'send 0', 'thread 0'])
  assert.match(functions(chain!)[0]!, /aborting/)
})
const slotsOfAbort = new WeakMap<Cpu, () => void>()
const slotsOfTell = new Map<Cpu, () => void>()
const TELL = define('trace.tell', (cpu) => slotsOfTell.get(cpu)!())
const ABORT = define('trace.abort', (cpu) => slotsOfAbort.get(cpu)!())

test('an error that a handler throws goes on through the queue, and has the assertion and its cause untouched', () => {
  const machine = simulate({
    cpus: 2,
    seed: 1,
    memoryBytes: 8 * 1024 * 1024,
    trace: 'all',
    program: ((cpu: Cpu) => {
      if (cpu.index === 1) {
        cpu.ports.create({
          name: 'bad',
          handler: function bad() {
            throw new Error('no', { cause: 'because' })
          },
        })
      } else {
        cpu.threads.start('culprit', function* culprit(thread) {
          yield* thread.until(() => cpu.ports.find('bad') !== undefined)
          sendAsk(cpu, 'bad')
        })
      }
    }) as never,
  })
  assert.throws(
    () => machine.run({ untilUs: 100_000 }),
    (failure: Error) => {
      const error = failure.cause as Error
      assert.equal(error.cause, 'because')
      assert.match(
        error.stack ?? '',
        /^Error: no\n {4}at .*bad.*[\s\S]*\nsent by cpu 0 on port bad, .*\n {4}at sendAsk[\s\S]*culprit/,
      )
      assert.equal(error.stack?.match(/sent by cpu 0/g)?.length, 1)
      return true
    },
  )
})

test('nothing is recorded in mode off; the mode changes while the machine runs, and one port can have its own', async () => {
  const seen: { port: string; hops: number }[] = []
  const machine = run(
    1,
    (cpu) => {
      for (const name of ['a', 'b']) {
        cpu.ports.create({
          name,
          dispatch: 'deferred',
          handler: () => {
            seen.push({ port: name, hops: cpu.tracer.where().hops.length })
            return 0
          },
        })
      }
      cpu.threads.start('sender', function* (thread) {
        const both = function* () {
          yield* thread.pause()
          sendAsk(cpu, 'a')
          sendAsk(cpu, 'b')
          yield* thread.pause()
        }
        yield* both()
        setTraceMode(cpu.memory, 'all')
        yield* both()
        setTraceMode(cpu.memory, 'off')
        yield* both()
        setPortTraceMode(cpu.memory, cpu.ports.lookup('b'), 'all')
        yield* both()
        setPortTraceMode(cpu.memory, cpu.ports.lookup('b'), undefined)
        yield* both()
      })
    },
    { trace: 'off' },
  )
  assert.equal(traceMode(machine.memory), 'off')
  await machine.stop()
  assert.deepEqual(
    seen.map(({ port, hops }) => `${port}${hops}`),
    ['a0', 'b0', 'a1', 'b1', 'a0', 'b0', 'a0', 'b1', 'a0', 'b0'],
  )
})

test('with 1/N one origin of N is taken, with all that follows from it', async () => {
  let traced = 0
  let asked = 0
  const machine = run(
    2,
    (cpu) => {
      if (cpu.index === 1) {
        cpu.ports.create({
          name: 'first',
          handler: (m) => {
            cpu.ports.forward(cpu.ports.lookup('second'), m)
            return EASYNC
          },
        })
        return
      }
      cpu.ports.create({
        name: 'second',
        handler: () => {
          asked++
          const { hops } = cpu.tracer.where()
          if (hops.length > 0) {
            traced++
            assert.equal(hops.length, 2)
          }
          return 0
        },
      })
      cpu.threads.start('sender', function* (thread) {
        yield* thread.until(() => cpu.ports.find('first') !== undefined)
        for (let i = 0; i < 100; i++) {
          sendAsk(cpu, 'first')
          yield* thread.delay(300)
        }
      })
    },
    { trace: 10 },
  )
  await machine.stop()
  assert.equal(asked, 100)
  assert.ok(traced >= 4 && traced <= 25, `${traced} of ${asked}`)
})

test('what a thread was caused by before the mode was off is its cause no more when it is set again', async () => {
  const ends: string[] = []
  const machine = run(1, (cpu) => {
    cpu.threads.start('watch', function* watch(thread) {
      while (true) {
        yield* thread.delay(1000)
        ends.push(cpu.tracer.where().end)
      }
    })
  })
  setTraceMode(machine.memory, 'off')
  machine.run({ untilUs: 110_000 })
  setTraceMode(machine.memory, 'all')
  ends.length = 0
  machine.run({ untilUs: 120_000 })
  await machine.stop()
  assert.ok(ends.length > 5, `${ends.length}`)
  assert.deepEqual(new Set(ends), new Set(['origin']))
})

for (const how of ['reply', 'forward'] as const) {
  test(`what was sent in mode off goes on, in mode all, with what passes it on: ${how}`, async () => {
    let chain: Chain | undefined
    const told = (cpu: Cpu) => {
      chain ??= cpu.tracer.where()
    }
    const machine = run(
      2,
      (cpu) => {
        const { ports } = cpu
        if (cpu.index === 1) {
          const kept = keeper(cpu)
          ports.create({
            name: 'poke',
            handler: () => {
              if (how === 'reply') ports.reply(kept())
              else ports.forward(ports.lookup('end'), kept())
              return 0
            },
          })
          return
        }
        ports.create({
          name: 'end',
          handler: () => {
            told(cpu)
            return 0
          },
        })
        const answers = ports.create({ onReply: () => told(cpu) })
        cpu.threads.start('asker', function* asking(thread) {
          yield* thread.until(() => ports.find('poke') !== undefined)
          ports.send(ports.lookup('keeper'), ports.allocate(Ask, answers.id))
          yield* thread.delay(10_000)
          setTraceMode(cpu.memory, 'all')
          yield* thread.delay(10_000)
          sendAsk(cpu, 'poke')
        })
      },
      { trace: 'off' },
    )
    await machine.stop()
    assert.ok(chain !== undefined)
    assert.deepEqual(kinds(chain).slice(0, 2), [`${how} 1`, 'send 0'])
  })
}

test('in mode off no stack is taken for what was recorded before', async () => {
  let stacks = Number.NaN
  let answered = false
  const machine = run(2, (cpu) => {
    const { ports } = cpu
    if (cpu.index === 1) {
      const kept = keeper(cpu)
      cpu.threads.start('answerer', function* answering(thread) {
        yield* thread.delay(20_000)
        setTraceMode(cpu.memory, 'off')
        yield* thread.delay(10_000)
        stacks = total(cpu.memory, TraceCounters, 'stacks')
        ports.reply(kept())
      })
      return
    }
    const answers = ports.create({
      onReply: () => {
        answered = true
      },
    })
    cpu.threads.start('asker', function* asking(thread) {
      yield* thread.until(() => ports.find('keeper') !== undefined)
      ports.sendFor(ports.lookup('keeper'), ports.allocate(Ask, answers.id), undefined)
    })
  })
  await machine.stop()
  assert.ok(answered)
  assert.equal(total(machine.memory, TraceCounters, 'stacks'), stacks)
})

test('with 1/N what was taken once leaves nothing behind: of a message that is sent again, a timer that is armed anew, a thread that sleeps', async () => {
  const seen: { readonly what: string; readonly hops: number }[] = []
  const machine = run(
    2,
    (cpu) => {
      const tell = (what: string) => seen.push({ what, hops: cpu.tracer.where().hops.length })
      if (cpu.index === 1) {
        cpu.ports.create({
          name: 'there',
          handler: () => {
            tell('message')
            return 0
          },
        })
        return
      }
      cpu.threads.start('sleeper', function* (thread) {
        for (;;) {
          yield* thread.sleep(1)
          tell('sleeper')
        }
      })
      const timer = cpu.slab.allocate(Timer.size)
      cpu.memory.u8.fill(0, timer, timer + Timer.size)
      slotsOfTell.set(cpu, () => tell('timer'))
      const m = cpu.ports.allocate(Ask)
      // Everything; one of so many that it is none; and everything again.
      for (const [i, mode] of (['all', 1_000_000_000, 'all'] as const).entries()) {
        cpu.threads.start(`switch ${i}`, function* (thread) {
          yield* thread.delay(5000 * (i + 1))
          setTraceMode(cpu.memory, mode)
        })
        cpu.threads.start(`asker ${i}`, function* (thread) {
          yield* thread.delay(5000 * (i + 1) + 2000)
          cpu.sleepQueue.wakeup(1)
          // The first time it is armed anew before it fires.
          cpu.timers.arm(timer, i === 0 ? 50_000 : 100, TELL)
          yield* thread.call(cpu.ports.lookup('there'), m)
        })
      }
    },
    { trace: 'off' },
  )
  await machine.stop()
  const hopsOf = (what: string) => seen.filter((each) => each.what === what).map(({ hops }) => hops > 0)
  assert.deepEqual(hopsOf('message'), [true, false, true])
  assert.deepEqual(hopsOf('sleeper'), [true, false, true])
  assert.deepEqual(hopsOf('timer'), [false, true])
})

test('with 1/N a function that is run elsewhere knows who asked for it, where that was taken', async () => {
  const chains: { [name: string]: Chain } = {}
  const ways = new Map<string, number>()
  const machine = run(
    2,
    (cpu) => {
      slots.set(cpu, chains)
      if (cpu.index === 1) return
      cpu.threads.start('asker', function* (thread) {
        for (let i = 0; i < 60; i++) {
          yield* thread.delay(500)
          cpu.ipi.send(1, LOOK)
          yield* thread.delay(500)
          const way = `${kinds(chains.ipi!)}`
          ways.set(way, (ways.get(way) ?? 0) + 1)
        }
      })
    },
    { trace: 5 },
  )
  await machine.stop()
  // Where the first that was taken is the delay, what comes after it follows from that.
  assert.ok(
    [...ways.keys()].every((way) => /^(ipi 0(,timer 0)*)?$/.test(way)),
    `${[...ways.keys()]}`,
  )
  const left = ways.get('') ?? 0
  assert.ok(ways.has('ipi 0') && left > 4 && left < 56, `${left} of 60 left out`)
})

test('what another process is told begins with the own stack, and goes on with the chain', async () => {
  let chain: Chain | undefined
  const machine = run(2, (cpu) => {
    if (cpu.index === 1) {
      const write = () => {
        chain = cpu.tracer.here(write, { pid: 77, title: 'shop' })
      }
      cpu.ports.create({
        name: 'there',
        handler: function serve() {
          write()
          return 0
        },
      })
      return
    }
    cpu.threads.start('asker', function* (thread) {
      yield* thread.until(() => cpu.ports.find('there') !== undefined)
      sendAsk(cpu, 'there')
    })
  })
  await machine.stop()
  assert.deepEqual(kinds(chain!), ['process 1', 'send 0', 'thread 0'])
  assert.match(functions(chain!)[0]!, /serve/)
  assert.ok(chain!.hops.every(({ process }) => process?.pid === 77))
  assert.deepEqual(decodeChain(encodeChain(chain!))?.hops.length, 3)
})

for (const trace of ['all', 'exact'] as const) {
  test(`of many from one place one is looked at now and then, and the others say so; a second place is found: mode ${trace}`, async () => {
    const seen: { from: string; isInferred: boolean }[] = []
    const machine = run(
      1,
      (cpu) => {
        cpu.ports.create({
          name: 'there',
          dispatch: 'deferred',
          handler: () => {
            const [hop] = cpu.tracer.where().hops
            seen.push({ from: hop?.frames[0]?.function ?? '', isInferred: hop?.isInferred === true })
            return 0
          },
        })
        const send = () => cpu.ports.send(cpu.ports.lookup('there'), cpu.ports.allocate(Ask))
        function here() {
          send()
        }
        function elsewhere() {
          send()
        }
        cpu.threads.start('sender', function* (thread) {
          for (let i = 0; i < 200; i++) here()
          yield* thread.delay(1000)
          for (let i = 0; i < 200; i++) (i % 2 === 0 ? here : elsewhere)()
        })
      },
      { trace, traceRecords: 1024 },
    )
    await machine.stop()
    assert.equal(seen.length, 400)
    const inferred = seen.filter(({ isInferred }) => isInferred).length
    if (trace === 'exact') {
      assert.equal(inferred, 0)
      assert.equal(seen.filter(({ from }) => from === 'send').length, 400)
      return
    }
    assert.ok(seen.slice(0, 16).every(({ isInferred }) => !isInferred))
    assert.ok(inferred > 100, `${inferred}`)
    // From the first look on that has seen another, each is looked at.
    assert.ok(seen.slice(-50).every(({ isInferred }) => !isInferred))
  })
}

test('a stack that is taken after a call is not given to the record that has taken the place of its own meanwhile', async () => {
  const inner: number[] = []
  let reader: ChainReader | undefined
  const frames: number[] = []
  const machine = run(
    1,
    (cpu) => {
      let held = 0
      cpu.ports.create({
        name: 'answerer',
        handler: (m) => {
          inner.push(cpu.tracer.of(m))
          return 0
        },
      })
      cpu.ports.create({
        name: 'keeper',
        handler: (m) => {
          held = m
          for (let i = 0; i < 64; i++) sendAsk(cpu, 'answerer')
          return EASYNC
        },
      })
      cpu.threads.start('sender', function* (thread) {
        sendAsk(cpu, 'keeper')
        reader = new ChainReader(cpu.memory)
        for (const id of inner) frames.push(reader.hop(id)?.frames.length ?? -1)
        yield* thread.pause()
        cpu.ports.reply(held)
      })
    },
    { trace: 'exact', traceRecords: 64 },
  )
  await machine.stop()
  assert.equal(frames.length, 64)
  assert.deepEqual([...new Set(frames)], [0], 'calls that were answered at once have no stack')
})

test('a full table gives up its oldest records, says so, and counts them', async () => {
  let chain: Chain | undefined
  const machine = run(
    1,
    (cpu) => {
      let held = 0
      cpu.ports.create({
        name: 'keeper',
        dispatch: 'deferred',
        handler: (m) => {
          held = m
          return EASYNC
        },
      })
      cpu.ports.create({ name: 'other', dispatch: 'deferred', handler: () => 0 })
      cpu.threads.start('sender', function* (thread) {
        sendAsk(cpu, 'keeper')
        yield* thread.until(() => held !== 0)
        for (let i = 0; i < 200; i++) sendAsk(cpu, 'other')
        chain = cpu.tracer.whence(held)
        cpu.ports.reply(held)
      })
    },
    { traceRecords: 64 },
  )
  await machine.stop()
  assert.deepEqual(chain, { hops: [], end: 'evicted' })
  assert.match(chainText(chain!, 0), /no longer kept/)
  assert.ok(total(machine.memory, TraceCounters, 'evicted') > 100)
})

test('a chain is read from outside, of what waits in a port, when its sender has died', async () => {
  const machine = simulate({
    cpus: 2,
    seed: 3,
    memoryBytes: 8 * 1024 * 1024,
    trace: 'all',
    program: ((cpu: Cpu) => {
      if (cpu.index === 1) {
        // Nobody serves it.
        cpu.ports.create({ name: 'box' })
        return
      }
      cpu.threads.start('victim', function* victim(thread) {
        yield* thread.until(() => cpu.ports.find('box') !== undefined)
        sendAsk(cpu, 'box')
        yield* thread.delay(1000)
        throw new Error('dies')
      })
    }) as never,
  })
  assert.throws(() => machine.run({ untilUs: 100_000 }), /dies/)
  const [cpu] = machine.cpus
  const [waiting] = cpu!.ports.queued(machine.cpus[1]!.names.find('box'))
  const chain = new ChainReader(machine.memory).chain(cpu!.tracer.of(waiting!))
  assert.match(functions(chain)[0]!, /sendAsk/)
  assert.match(chain.hops[0]!.frames[1]!.function, /victim/)
})
