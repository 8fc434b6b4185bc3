import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import fc from 'fast-check'
import { AssertionFailure } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import { closeEventfd, drain, openEventfd, signal } from './eventfd.ts'
import { type Libc, libcUnavailable } from './library.ts'
import { Poller, Ready } from './poll.ts'

if (isMainThread) tests()
else sleeper()

/** The other thread of the last test: sleeps until its bell rings. */
function sleeper(): void {
  const bell = workerData as number
  const poller = new Poller(1)
  const slot = poller.add(bell)
  parentPort!.postMessage('about to sleep')
  const ready = poller.wait(-1)
  parentPort!.postMessage({ ready, readable: poller.readable(slot), rung: drain(bell) })
}

function tests(): void {
  const skip = libcUnavailable()

  test('of several descriptors it tells which are ready', { skip }, () => {
    const bells = [openEventfd(), openEventfd(), openEventfd()]
    const poller = new Poller(4)
    const slots = bells.map((bell) => poller.add(bell))
    assert.equal(poller.wait(0), 0)
    signal(bells[1]!)
    assert.equal(poller.wait(-1), 1)
    assert.deepEqual(
      slots.map((slot) => poller.readable(slot)),
      [false, true, false],
    )
    drain(bells[1]!)
    assert.equal(poller.wait(0), 0)
    assert.equal(poller.readable(slots[1]!), false)
    for (const bell of bells) closeEventfd(bell)
  })

  test('a slot says what it is waited for', { skip }, () => {
    const bell = openEventfd()
    const poller = new Poller(1)
    const slot = poller.add(bell)
    assert.equal(poller.wait(0), 0)
    poller.want(slot, Ready.readable | Ready.writable)
    assert.equal(poller.wait(0), 1)
    assert.deepEqual([poller.readable(slot), poller.writable(slot), poller.failed(slot)], [false, true, false])
    closeEventfd(bell)
  })

  test('a descriptor that was closed fails, until it is removed', { skip }, () => {
    const bell = openEventfd()
    const poller = new Poller(2)
    const slot = poller.add(bell)
    closeEventfd(bell)
    assert.equal(poller.wait(-1), 1)
    assert.equal(poller.ready(slot), Ready.invalid)
    assert(poller.failed(slot))
    poller.remove(slot)
    assert.equal(poller.wait(0), 0)
  })

  test('it waits in machine memory that it is given', { skip }, () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
    const bell = openEventfd()
    signal(bell)
    const poller = new Poller(2, new Uint8Array(memory.buffer, 4096, Poller.bytes(2)))
    poller.add(bell)
    assert.equal(poller.wait(0), 1)
    assert.deepEqual([...new Int32Array(memory.buffer, 4096, 4)], [bell, 0x0001_0001, -1, 0])
    closeEventfd(bell)
  })

  test('a signal does not end a wait', () => {
    const answers = [-Errno.EINTR, -Errno.EINTR, 1]
    const timeouts: number[] = []
    const system = fake((timeoutMs) => {
      timeouts.push(timeoutMs)
      return answers.shift()!
    })
    assert.equal(new Poller(1, undefined, system).wait(-1), 1)
    assert.deepEqual(timeouts, [-1, -1, -1])
  })

  test('after a signal only the rest of the time is waited', () => {
    const answers = [-Errno.EINTR, -Errno.EINTR, 0]
    const timeouts: number[] = []
    const system = fake((timeoutMs) => {
      timeouts.push(timeoutMs)
      return answers.shift()!
    })
    assert.equal(new Poller(1, undefined, system).wait(60_000), 0)
    assert.equal(timeouts.length, 3)
    for (const timeoutMs of timeouts) assert(timeoutMs >= 0 && timeoutMs <= 60_000)
  })

  test('another error than a signal is answered', () => {
    const system = fake(() => -Errno.ENOMEM)
    assert.equal(new Poller(1, undefined, system).wait(5), -Errno.ENOMEM)
  })

  test('slots are given out, given back and given out again, never above the limit', () => {
    const system = fake(() => 0)
    const steps = fc.array(fc.oneof(fc.record({ add: fc.nat(1000) }), fc.record({ remove: fc.nat(7) })), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(steps, (list) => {
        const place = new Uint8Array(new ArrayBuffer(Poller.bytes(4)))
        const poller = new Poller(4, place, system)
        const held = new Map<number, number>()
        for (const step of list) {
          if ('add' in step) {
            if (held.size === 4) assert.throws(() => poller.add(step.add), AssertionFailure)
            else {
              const slot = poller.add(step.add)
              assert(!held.has(slot))
              held.set(slot, step.add)
            }
          } else if (held.has(step.remove)) {
            poller.remove(step.remove)
            held.delete(step.remove)
          } else assert.throws(() => poller.remove(step.remove), AssertionFailure)
          const words = new Int32Array(place.buffer)
          for (let slot = 0; slot < 4; slot++) assert.equal(words[slot * 2], held.get(slot) ?? -1)
        }
      }),
      { seed: 77, numRuns: 200 },
    )
  })

  test('a thread that sleeps is woken by the bell of another', { skip, timeout: 20_000 }, async () => {
    const bell = openEventfd()
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: bell })
    const ended = once(worker, 'exit')
    await once(worker, 'message')
    signal(bell)
    const [answer] = await once(worker, 'message')
    assert.deepEqual(answer, { ready: 1, readable: true, rung: 1 })
    await ended
    closeEventfd(bell)
  })
}

/** An operating system that has only poll(2). */
function fake(poll: (timeoutMs: number) => number): Libc {
  const system: Partial<Libc> = { pointer: () => 4096, poll: (_records, _count, timeoutMs) => poll(timeoutMs) }
  return system as Libc
}
