import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cpu } from '../kernel/cpu.ts'
import { MachineHeader } from '../kernel/layout.ts'
import { EventLoopDriver } from './eventloop.ts'
import { InlineMachine } from './inline.ts'

const OPTIONS = { cpus: 2, memoryBytes: 8 * 1024 * 1024, seed: 1 }

async function withMachine(body: (machine: InlineMachine, driver: EventLoopDriver) => Promise<void> | void) {
  const machine = new InlineMachine(OPTIONS, undefined)
  try {
    await body(machine, EventLoopDriver.of(machine.cpu)!)
  } finally {
    await machine.stop()
  }
}

/** What keeps the event loop alive now. */
const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
const loop = () => new Promise((resolve) => setImmediate(resolve))

test('all CPUs of an inline machine have one driver, and a CPU elsewhere has none', () =>
  withMachine((machine, driver) => {
    for (const cpu of machine.cpus) assert.equal(EventLoopDriver.of(cpu), driver)
    const slots = new Map<symbol, unknown>()
    const elsewhere = {
      slot: (key: symbol, make: () => unknown) => {
        if (!slots.has(key)) slots.set(key, make())
        return slots.get(key)
      },
    }
    assert.equal(EventLoopDriver.of(elsewhere as unknown as Cpu), undefined)
  }))

test('a program runs after a turn, outside of it, and what it asks for is done in the next one', () =>
  withMachine(async (machine, driver) => {
    const { cpu } = machine
    const log: string[] = []
    cpu.addPollable({
      poll: () => {
        log.push('turn')
        return 0
      },
      flush: () => {},
      pending: () => false,
      close: () => {},
    })
    let asked = false
    const end = driver.addProgram(() => {
      log.push('program')
      if (!asked) driver.enter()
      asked = true
      return 0
    })
    driver.schedule()
    while (log.length < 4) await loop()
    assert.deepEqual(log.slice(0, 4), ['turn', 'program', 'turn', 'program'])
    end()
    log.length = 0
    driver.schedule()
    while (log.length < 1) await loop()
    assert.deepEqual(log, ['turn'])
  }))

test('what a program throws is an exception of the event loop, and the machine goes on', () =>
  withMachine(async (machine, driver) => {
    let calls = 0
    driver.addProgram(() => {
      if (++calls === 2) throw new Error('mine')
      return calls < 4 ? 1 : 0
    })
    // Before the test runner's own listener.
    const caught = new Promise<Error>((resolve) => process.setUncaughtExceptionCaptureCallback(resolve))
    driver.schedule()
    assert.equal((await caught).message, 'mine')
    process.setUncaughtExceptionCaptureCallback(null)
    while (calls < 4) await loop()
    assert.equal(machine.failure, undefined)
  }))

test('a program waits for an answer of another CPU without giving the event loop its turn', () =>
  withMachine((machine, driver) => {
    const [here, there] = machine.cpus
    let immediate = false
    setImmediate(() => {
      immediate = true
    })
    let fired = false
    driver.enter()
    there!.timers.after(200, () =>
      here!.timers.after(200, () => {
        fired = true
      }),
    )
    assert.equal(
      driver.wait(() => fired, 5000),
      true,
    )
    assert.deepEqual([fired, immediate], [true, false])
    assert.equal(
      driver.wait(() => false, 1),
      false,
    )
  }))

test('timers of a machine that is not referenced do not keep the event loop', () =>
  withMachine(async (machine, driver) => {
    // The machine's own first turns.
    for (let i = 0; i < 5; i++) await loop()
    const before = timers()
    machine.cpu.timers.after(60_000_000, () => {})
    machine.kick()
    while (timers() === before) await loop()
    machine.unref()
    assert.equal(timers(), before)
    machine.ref()
    assert.equal(timers(), before + 1)
    driver.unref()
    machine.cpu.timers.after(30_000_000, () => {})
    machine.kick()
    for (let i = 0; i < 5; i++) await loop()
    assert.equal(timers(), before)
  }))

test('watches are referenced as their machine is', () =>
  withMachine((_machine, driver) => {
    const log: string[] = []
    const watch = { ref: () => log.push('ref'), unref: () => log.push('unref') }
    const forget = driver.addWatch(watch as never)
    driver.unref()
    driver.ref()
    driver.unref()
    forget()
    driver.ref()
    driver.unref()
    driver.addWatch(watch as never)
    assert.deepEqual(log, ['unref', 'ref', 'unref', 'unref'])
  }))

test('a CPU that is held is not waited for when the machine has stopped elsewhere', () =>
  withMachine((machine, driver) => {
    const { memory, cpu } = machine
    cpu.threads.start('holds for ever', (thread) => cpu.cpusync.hold(thread))
    let turnsAfter = 0
    cpu.addPollable({
      poll: () => {
        if (!machine.cpus[1]!.cpusync.held) return 1
        // As a worker does that has failed: whoever would tell the event loop of it is not heard now.
        Atomics.store(memory.i32, (memory.layout.header + MachineHeader.offset.stop) >> 2, 1)
        assert(++turnsAfter < 100, 'the turns come to an end')
        return 1
      },
      flush: () => {},
      pending: () => false,
      close: () => {},
    })
    assert.equal(
      driver.wait(() => false, 1000),
      false,
    )
    assert(turnsAfter > 0 && turnsAfter < 100)
  }))
