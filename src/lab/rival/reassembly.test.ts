import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readLockSites } from '../../kernel/lock.ts'
import { ByHand } from '../../machine/testing/sim.ts'
import { NetContext } from '../../net/context.ts'
import { ReassemblyCounters } from '../../net/counters.ts'
import { Reassembly, ReassemblyLimits } from '../../net/ip/reassembly.ts'
import { type Bytes, counting, fragments, ip, Protocol, udp } from '../../net/testing/frame.ts'
import { LockedReassembly, LockedReassemblyLimits } from './reassembly.ts'

const HEADER = 20

/** A machine with the table of the stack on its first CPU, and the rival on all. */
class Both {
  readonly machine = new ByHand(2)
  readonly stack: Reassembly
  readonly rivals: readonly LockedReassembly[]
  readonly whole: { readonly stack: Bytes[]; readonly rival: Bytes[] } = { stack: [], rival: [] }
  readonly late: { stack: number; rival: number } = { stack: 0, rival: 0 }
  readonly #contexts: readonly NetContext[]
  readonly #counts: Float64Array

  constructor(shards: number) {
    const { cpus } = this.machine
    // The stack's has a host of its own, and so counters.
    const own = new NetContext(cpus[0]!, { name: 'stack', index: 1, cpus: [0], interfaces: [] })
    this.stack = new Reassembly(own)
    this.#counts = own.count(ReassemblyCounters)
    this.#contexts = cpus.map((cpu) => new NetContext(cpu, { name: 'rival', index: 0, cpus: [0, 1], interfaces: [] }))
    const made = LockedReassembly.create(this.#contexts[0]!, 'fragments', shards)
    this.rivals = [made, LockedReassembly.attach(this.#contexts[1]!, 'fragments', shards)]
    this.stack.onWhole = (packet) => this.#take(own, packet, this.whole.stack)
    this.stack.onTimeout = () => this.late.stack++
    for (const [i, rival] of this.rivals.entries()) {
      rival.onWhole = (packet) => this.#take(this.#contexts[i]!, packet, this.whole.rival)
      rival.onTimeout = () => this.late.rival++
    }
  }

  #take({ mbufs }: NetContext, packet: number, list: Bytes[]): void {
    list.push(mbufs.bytes(packet))
    mbufs.free(packet)
  }

  input(packet: Bytes, cpu = 0): void {
    const { mbufs } = this.#contexts[0]!
    this.stack.input(mbufs.copyFrom(packet), HEADER)
    this.machine.as(cpu, () => this.rivals[cpu]!.input(this.#contexts[cpu]!.mbufs.copyFrom(packet), HEADER))
  }

  /** Both have seen, dropped and held the same. */
  check(): void {
    assert.deepEqual(this.whole.rival, this.whole.stack)
    const rivals = this.#contexts.map((context) => context.count(ReassemblyCounters))
    for (const [i, name] of ReassemblyCounters.counters.entries()) {
      assert.equal(rivals[0]![i]! + rivals[1]![i]!, this.#counts[i], name)
    }
    assert.equal(this.rivals[0]!.datagrams, this.stack.datagrams)
  }

  end(): void {
    this.rivals[0]!.free()
    for (const cpu of this.machine.cpus) cpu.shutdown()
    for (const { slab } of this.machine.cpus) slab.collect()
    assert.equal(
      this.machine.cpus.reduce((sum, { slab }) => sum + slab.live, 0),
      0,
      'all memory is back',
    )
  }
}

const piece = fc.record({
  offset: fc.nat(6).map((place) => place * 8),
  length: fc.constantFrom(8, 16, 24, 5),
  more: fc.boolean(),
  id: fc.nat(2),
  source: fc.constantFrom('10.0.0.9', '10.0.0.10'),
  cpu: fc.nat(1),
})

for (const shards of [1, LockedReassemblyLimits.shards]) {
  const name = shards === 1 ? 'one lock' : `${shards} locks`

  test(`with ${name}: of any pieces it makes what the table of the stack makes, and drops the same`, () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const both = new Both(shards)
        for (const { offset, length, more, id, source, cpu } of pieces) {
          both.input(ip({ protocol: Protocol.icmp, source, offset, more, id }, counting(length)), cpu)
        }
        both.check()
        both.end()
      }),
      { seed: 815, numRuns: 150 },
    )
  })

  test(`with ${name}: datagrams become whole whichever CPU their fragments come to`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 600, max: 4000 }), fc.infiniteStream(fc.nat()), (bytes, order) => {
        const both = new Both(shards)
        const cut = [1, 2, 3].flatMap((id) => fragments(udp({ targetPort: 9 }, counting(bytes)), 256, id))
        for (let i = cut.length - 1; i > 0; i--) {
          const other = order.next().value! % (i + 1)
          ;[cut[i], cut[other]] = [cut[other]!, cut[i]!]
        }
        for (const fragment of cut) both.input(fragment, order.next().value! % 2)
        assert.equal(both.whole.rival.length, 3)
        both.check()
        both.end()
      }),
      { seed: 816, numRuns: 50 },
    )
  })
}

test('what takes too long is dropped, with a word about it where the first fragment is there', () => {
  const both = new Both(4)
  const { clock } = both.machine
  for (const offset of [0, 32]) {
    both.input(ip({ protocol: Protocol.icmp, source: `10.0.0.${9 + offset}`, offset, more: true }, counting(16)))
  }
  clock.advanceTo(clock.now() + ReassemblyLimits.timeoutUs - 1000)
  both.machine.settle()
  assert.equal(both.rivals[0]!.datagrams, 2)
  clock.advanceTo(clock.now() + 2 * LockedReassemblyLimits.sweepUs)
  both.machine.settle()
  assert.equal(both.rivals[0]!.datagrams, 0)
  assert.deepEqual(both.late, { stack: 1, rival: 1 })
  both.check()
  both.end()
})

test('a source has a bound, and all have one together', () => {
  const both = new Both(1)
  const start = (id: number, source: string) =>
    both.input(ip({ protocol: Protocol.icmp, source, offset: 0, more: true, id }, counting(16)))
  for (let id = 0; id < 2 * ReassemblyLimits.datagramsPerSource; id++) start(id, '10.0.0.9')
  both.check()
  assert.equal(both.rivals[0]!.datagrams, ReassemblyLimits.datagramsPerSource)
  for (let i = 0; i < 2 * ReassemblyLimits.datagrams; i++) start(i, `10.1.${i >> 8}.${i & 255}`)
  assert.equal(both.rivals[0]!.datagrams, both.stack.datagrams)
  assert.equal(both.rivals[0]!.datagrams, ReassemblyLimits.datagrams)
  both.end()
})

test('a fragment takes one lock', () => {
  const both = new Both(8)
  for (const [i, fragment] of fragments(udp({ targetPort: 9 }, counting(2000)), 256, 1).entries()) {
    both.input(fragment, i % 2)
  }
  const lock = readLockSites(both.machine.memory).find(({ name }) => name === 'rival reassembly')!
  assert.deepEqual([lock.site, lock.count, lock.countLock], ['fragment input', 8, 0])
  both.end()
})
