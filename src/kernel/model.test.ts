// Model-based tests: random programs of operations, run against the kernel and against a model that a reader can check at
// a glance. When one fails, fast-check shrinks the program to the few operations that matter.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { u32 } from '../base/struct.ts'
import { ByHand, sumOf } from '../machine/testing/sim.ts'
import { define } from './function.ts'
import { EASYNC, MessageFlag, message } from './message.ts'
import { NULL_PORT } from './port.ts'
import { SLAB_SIZES } from './slab.ts'

const CPUS = 3
const runs = { seed: 20040517, numRuns: 150 }
const cpu = fc.nat({ max: CPUS - 1 })

const Numbered = message('model.numbered', { number: u32 })

/** Everything is free again. */
function assertEmpty(machine: ByHand): void {
  for (const each of machine.cpus) each.slab.flush()
  for (const each of machine.cpus) {
    each.slab.collect()
    assert.equal(each.slab.live, 0)
  }
  assert.equal(sumOf(machine, 'slab', 'allocated'), sumOf(machine, 'slab', 'freed'))
}

test('a port is a queue for each sender, priority first: sends, drops, gets and turns in any order', () => {
  type Operation =
    | { readonly kind: 'send'; readonly from: number; readonly priority: boolean }
    | { readonly kind: 'drop'; readonly index: number }
    | { readonly kind: 'get' }
    | { readonly kind: 'turn'; readonly cpu: number }
  const operation: fc.Arbitrary<Operation> = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('send' as const), from: cpu, priority: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), index: fc.nat({ max: 20 }) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('get' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('turn' as const), cpu }) },
  )
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const machine = new ByHand(CPUS)
      const [owner] = machine.cpus
      const port = owner!.ports.create({})
      const numbered = Numbered.cursor(machine.memory)
      // The model: what each sender has sent, in each lane, and nobody has taken. It says nothing of two senders' order.
      const sent: { readonly address: number; readonly number: number; readonly lane: string }[] = []
      let number = 0
      const take = () => {
        const address = owner!.ports.get(port)
        if (address === 0) return false
        const at = sent.findIndex((each) => each.address === address)
        assert.ok(at >= 0, 'what is taken was sent, and not taken before')
        const [taken] = sent.splice(at, 1)
        numbered.at = address
        assert.equal(numbered.number, taken!.number)
        const earlier = sent.filter((each) => each.lane === taken!.lane && each.number < taken!.number)
        assert.deepEqual(earlier, [], "nothing of its sender's lane was sent before it and is still there")
        owner!.ports.reply(address)
        return true
      }
      for (const each of operations) {
        if (each.kind === 'send') {
          const sender = machine.cpus[each.from]!
          const address = sender.ports.allocate(Numbered)
          numbered.at = address
          numbered.number = ++number
          const flags = MessageFlag.DROPABLE | (each.priority ? MessageFlag.PRIORITY : 0)
          sender.ports.setFlags(address, flags)
          sent.push({ address, number, lane: `${each.from} ${each.priority}` })
          sender.ports.send(port.id, address)
        } else if (each.kind === 'get') take()
        else if (each.kind === 'turn') machine.turn(each.cpu)
        else if (sent.length > 0) {
          const at = each.index % sent.length
          const { address } = sent[at]!
          if (owner!.ports.drop(port, address)) {
            sent.splice(at, 1)
            owner!.slab.free(address)
          }
        }
      }
      machine.settle()
      while (take()) {
        // To the last one.
      }
      assert.deepEqual(sent, [], 'none is lost')
      owner!.ports.close(port)
      machine.settle()
      assertEmpty(machine)
    }),
    runs,
  )
})

test('a call is answered once, at once or later, by the target or by whoever it was forwarded to', () => {
  const answer = fc.record({
    from: cpu,
    at: cpu,
    forwardTo: cpu,
    code: fc.nat({ max: 100 }),
    later: fc.boolean(),
    forward: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(answer, { maxLength: 40 }), fc.array(cpu, { maxLength: 40 }), (calls, turns) => {
      const machine = new ByHand(CPUS)
      const numbered = Numbered.cursor(machine.memory)
      const kept: { readonly on: number; readonly address: number; readonly code: number }[] = []
      const seconds = machine.cpus.map((each) =>
        each.ports.create({
          handler: (m) => {
            numbered.at = m
            return calls[numbered.number]!.code
          },
        }),
      )
      const firsts = machine.cpus.map((each) =>
        each.ports.create({
          handler: (m) => {
            numbered.at = m
            const { code, later, forward, forwardTo } = calls[numbered.number]!
            if (forward) each.ports.forward(seconds[forwardTo]!.id, m)
            else if (later) kept.push({ on: each.index, address: m, code })
            else return code
            return EASYNC
          },
        }),
      )
      const answers = calls.map(() => [] as number[])
      const replies = machine.cpus.map((each) =>
        each.ports.create({
          onReply: (m) => {
            numbered.at = m
            answers[numbered.number]!.push(each.ports.error(m))
            each.slab.free(m)
          },
        }),
      )
      calls.forEach(({ from, at }, number) => {
        const caller = machine.cpus[from]!
        const m = caller.ports.allocate(Numbered, replies[from]!.id)
        numbered.at = m
        numbered.number = number
        caller.ports.send(firsts[at]!.id, m)
        if (turns[number] !== undefined) machine.turn(turns[number])
      })
      machine.settle()
      for (const { on, address, code } of kept) machine.cpus[on]!.ports.reply(address, code)
      machine.settle()
      assert.deepEqual(
        answers,
        calls.map(({ code }) => [code]),
      )
      assertEmpty(machine)
    }),
    runs,
  )
})

test('a ring is a queue: IPIs of a pair run once each, in order, whatever its size and whoever takes turns', () => {
  const log: string[] = []
  const record = define('model.record', (on, from, number) => log.push(`${from} ${on.index} ${number}`))
  type Operation =
    | {
        readonly kind: 'send'
        readonly from: number
        readonly to: number
        readonly count: number
        readonly passive: boolean
      }
    | { readonly kind: 'turn'; readonly cpu: number }
  const operation: fc.Arbitrary<Operation> = fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('send' as const),
        from: cpu,
        to: cpu,
        count: fc.integer({ min: 1, max: 40 }),
        passive: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('turn' as const), cpu }) },
  )
  fc.assert(
    fc.property(fc.constantFrom(16, 32, 256), fc.array(operation, { maxLength: 60 }), (ringEntries, operations) => {
      const machine = new ByHand(CPUS, { ringEntries })
      log.length = 0
      const expected = new Map<string, string[]>()
      let number = 0
      for (const each of operations) {
        if (each.kind === 'turn') machine.turn(each.cpu)
        else
          machine.as(each.from, ({ ipi }) => {
            for (let i = 0; i < each.count; i++) {
              const entry = `${each.from} ${each.to} ${++number}`
              const pair = `${each.from} ${each.to}`
              expected.set(pair, [...(expected.get(pair) ?? []), entry])
              if (each.passive) ipi.sendPassive(each.to, record, each.from, number)
              else ipi.send(each.to, record, each.from, number)
            }
          })
      }
      machine.settle()
      for (const [pair, entries] of expected) {
        assert.deepEqual(
          log.filter((entry) => entry.startsWith(`${pair} `)),
          entries,
        )
      }
      assert.equal(log.length, number)
      assert.equal(sumOf(machine, 'cpu', 'ipisSent'), sumOf(machine, 'cpu', 'ipisReceived'))
    }),
    runs,
  )
})

test('the slab gives each byte to one owner at a time, and gets all of it back', () => {
  type Operation =
    | { readonly kind: 'allocate'; readonly cpu: number; readonly bytes: number }
    | { readonly kind: 'free'; readonly cpu: number; readonly index: number }
    | { readonly kind: 'turn'; readonly cpu: number }
    | { readonly kind: 'recycle'; readonly cpu: number }
  const bytes = fc.oneof(
    { weight: 20, arbitrary: fc.integer({ min: 1, max: 2048 }) },
    { weight: 1, arbitrary: fc.constantFrom(...SLAB_SIZES) },
  )
  const operation: fc.Arbitrary<Operation> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('allocate' as const), cpu, bytes }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('free' as const), cpu, index: fc.nat({ max: 1000 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('turn' as const), cpu }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('recycle' as const), cpu }) },
  )
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 150 }), (operations) => {
      const machine = new ByHand(CPUS, { memoryBytes: 24 * 1024 * 1024 })
      const live: { readonly address: number; readonly bytes: number }[] = []
      for (const each of operations) {
        const { slab } = machine.cpus[each.cpu]!
        if (each.kind === 'allocate') {
          const address = slab.allocate(each.bytes)
          const overlapping = live.filter(
            (other) => address < other.address + other.bytes && other.address < address + each.bytes,
          )
          assert.deepEqual(overlapping, [])
          live.push({ address, bytes: each.bytes })
        } else if (each.kind === 'turn') machine.turn(each.cpu)
        // Turns are taken by hand: nobody is in the middle of anything, as within a cpusync.
        else if (each.kind === 'recycle') slab.returnZones(slab.detachFreeZones())
        else if (live.length > 0) {
          const [freed] = live.splice(each.index % live.length, 1)
          slab.free(freed!.address)
        }
      }
      for (const { address } of live) machine.cpus[0]!.slab.free(address)
      assertEmpty(machine)
    }),
    runs,
  )
})

test('a message without a reply port is done where it is, for whoever looks', () => {
  fc.assert(
    fc.property(cpu, cpu, fc.nat({ max: 100 }), (from, to, code) => {
      const machine = new ByHand(CPUS)
      const port = machine.cpus[to]!.ports.create({ handler: () => code })
      const sender = machine.cpus[from]!
      const m = sender.ports.allocate(Numbered, NULL_PORT)
      assert.ok(sender.ports.isDone(m))
      sender.ports.send(port.id, m)
      machine.settle()
      assert.ok(sender.ports.isDone(m))
      assert.equal(sender.ports.error(m), code)
      sender.slab.free(m)
      assertEmpty(machine)
    }),
    { ...runs, numRuns: 30 },
  )
})
