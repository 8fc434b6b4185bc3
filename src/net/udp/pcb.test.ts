import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Address } from '../../base/struct.ts'
import { address } from '../testing/frame.ts'
import { type TestHost, withHost } from '../testing/host.ts'
import { UdpPcb, UdpPcbFlag, UdpTable } from './pcb.ts'

interface Wanted {
  readonly port: number
  readonly local?: string
  readonly remote?: string
  readonly remotePort?: number
  readonly shared?: boolean
}

/** A table of its own, in the machine of a host, and what one does with it by text. */
class TableUnderTest {
  readonly table: UdpTable
  readonly #host: TestHost
  readonly #room: Address
  readonly #pcb

  constructor(host: TestHost) {
    const { context } = host.stacks[0]!
    this.#host = host
    this.table = new UdpTable(context)
    this.#pcb = UdpPcb.cursor(context.memory)
    this.#room = context.cpu.slab.allocate(128)
    context.cpu.onStop(() => context.cpu.slab.free(this.#room))
  }

  add(wanted: Wanted, socket = 1): Address {
    const pcb = this.table.insert(wanted.port)
    const { u8 } = this.#host.machine.memory
    this.#pcb.at = pcb
    this.#pcb.family = 4
    this.#pcb.port = 20
    this.#pcb.socket = socket
    this.#pcb.flags = wanted.shared === true ? UdpPcbFlag.SHARED : 0
    u8.set(address(wanted.local ?? '0.0.0.0'), this.#pcb.local)
    if (wanted.remote !== undefined) this.table.connect(pcb, this.#at(16, wanted.remote), wanted.remotePort!)
    return pcb
  }

  lookup(local: string, port: number, remote: string, remotePort: number, hash?: number): Address {
    return this.table.lookup(4, this.#at(16, local), port, this.#at(32, remote), remotePort, hash)
  }

  /** All that `next` gives. */
  all(local: string, port: number, remote: string, remotePort: number): Address[] {
    const found: Address[] = []
    const next = (after: Address) =>
      this.table.next(after, 4, this.#at(16, local), port, this.#at(32, remote), remotePort)
    for (let pcb = next(0); pcb !== 0; pcb = next(pcb)) found.push(pcb)
    return found
  }

  conflicts(local: string, port: number, isShared = false): boolean {
    return this.table.conflicts(4, this.#at(16, local), port, isShared)
  }

  #at(offset: number, text: string): Address {
    this.#host.machine.memory.u8.set(address(text), this.#room + offset)
    return this.#room + offset
  }
}

function withTable(run: (t: TableUnderTest) => void): void {
  withHost({}, (host) => run(new TableUnderTest(host)))
}

describe('udp pcb', () => {
  test('a connected socket comes before one that is bound to the address, and that before a wildcard', () => {
    withTable((t) => {
      const kinds: Wanted[] = [
        { port: 9 },
        { port: 9, local: '10.0.0.1' },
        { port: 9, remote: '10.0.0.9', remotePort: 5000 },
        { port: 9, local: '10.0.0.1', remote: '10.0.0.9', remotePort: 5000 },
      ]
      // Whatever the order in which they came.
      for (const order of [
        [0, 1, 2, 3],
        [3, 2, 1, 0],
        [1, 3, 0, 2],
        [2, 0, 3, 1],
      ]) {
        const pcbs: Address[] = []
        for (const kind of order) pcbs[kind] = t.add(kinds[kind]!)
        for (const best of [3, 2, 1, 0]) {
          assert.equal(t.lookup('10.0.0.1', 9, '10.0.0.9', 5000), pcbs[best])
          t.table.remove(pcbs[best]!)
        }
        assert.equal(t.lookup('10.0.0.1', 9, '10.0.0.9', 5000), 0)
      }
    })
  })

  test('another address, port or remote end is not found', () => {
    withTable((t) => {
      t.add({ port: 9, local: '10.0.0.1', remote: '10.0.0.9', remotePort: 5000 })
      assert.equal(t.lookup('10.0.0.2', 9, '10.0.0.9', 5000), 0)
      assert.equal(t.lookup('10.0.0.1', 9 + 1024, '10.0.0.9', 5000), 0)
      assert.equal(t.lookup('10.0.0.1', 9, '10.0.0.8', 5000), 0)
      assert.equal(t.lookup('10.0.0.1', 9, '10.0.0.9', 5001), 0)
    })
  })

  test('a wildcard conflicts with every address of its port, an address with itself and the wildcard', () => {
    withTable((t) => {
      const any = t.add({ port: 9 })
      assert.equal(t.conflicts('0.0.0.0', 9), true)
      assert.equal(t.conflicts('10.0.0.1', 9), true)
      assert.equal(t.conflicts('0.0.0.0', 10), false)
      t.table.remove(any)
      t.add({ port: 9, local: '10.0.0.1' })
      assert.equal(t.conflicts('10.0.0.1', 9), true)
      assert.equal(t.conflicts('10.0.0.2', 9), false)
      assert.equal(t.conflicts('0.0.0.0', 9), true)
    })
  })

  test('a port is shared by those who all want to share it', () => {
    withTable((t) => {
      const first = t.add({ port: 9, shared: true })
      assert.equal(t.conflicts('0.0.0.0', 9), true)
      assert.equal(t.conflicts('0.0.0.0', 9, true), false)
      const second = t.add({ port: 9 })
      assert.equal(t.conflicts('0.0.0.0', 9, true), true)
      t.table.remove(second)
      assert.equal(t.conflicts('10.0.0.1', 9, true), false)
      t.table.remove(first)
    })
  })

  test('of those who share a port the hash chooses one, evenly, among the best', () => {
    withTable((t) => {
      const sharers = Array.from({ length: 5 }, () => t.add({ port: 9, local: '10.0.0.1', shared: true }))
      t.add({ port: 9, shared: true })
      t.add({ port: 9 + 1024 })
      const chosen = new Map<Address, number>()
      for (let hash = 0; hash < 500; hash++) {
        const pcb = t.lookup('10.0.0.1', 9, '10.0.0.9', 5000, hash)
        assert.equal(t.lookup('10.0.0.1', 9, '10.0.0.9', 5000, hash), pcb)
        chosen.set(pcb, (chosen.get(pcb) ?? 0) + 1)
      }
      assert.deepEqual([...chosen.keys()].sort(), [...sharers].sort())
      assert([...chosen.values()].every((count) => count === 100))
      // One that is connected is better than all of them.
      const connected = t.add({ port: 9, remote: '10.0.0.9', remotePort: 5000, shared: true })
      for (let hash = 0; hash < 10; hash++) assert.equal(t.lookup('10.0.0.1', 9, '10.0.0.9', 5000, hash), connected)
    })
  })

  test('what is sent to many is for all that are bound to its port and to no other address', () => {
    withTable((t) => {
      const any = t.add({ port: 9, shared: true })
      const group = t.add({ port: 9, local: '224.1.2.3', shared: true })
      t.add({ port: 9, local: '10.0.0.1', shared: true })
      t.add({ port: 9, local: '224.1.2.4', shared: true })
      t.add({ port: 10 })
      t.add({ port: 9 + 1024 })
      const connected = t.add({ port: 9, remote: '10.0.0.9', remotePort: 5000, shared: true })
      t.add({ port: 9, remote: '10.0.0.8', remotePort: 5000, shared: true })
      assert.deepEqual(t.all('224.1.2.3', 9, '10.0.0.9', 5000).sort(), [any, group, connected].sort())
      assert.deepEqual(t.all('224.1.2.3', 9, '10.0.0.9', 5001).sort(), [any, group].sort())
      assert.deepEqual(t.all('224.1.2.3', 11, '10.0.0.9', 5001), [])
    })
  })

  test('a table finds what a list of the same sockets finds, whatever was added and removed', () => {
    withTable((t) => {
      // Ports that share a bucket, and few addresses, so that everything meets.
      const port = fc.constantFrom(9, 9 + 1024, 9 + 2048, 10)
      const command = fc.record({ remove: fc.boolean(), port, which: fc.nat(20) })
      fc.assert(
        fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
          const list: { pcb: Address; port: number }[] = []
          for (const { remove, port, which } of commands) {
            if (remove && list.length > 0) t.table.remove(list.splice(which % list.length, 1)[0]!.pcb)
            else if (!list.some((known) => known.port === port)) list.push({ pcb: t.add({ port }, port), port })
            assert.equal(t.table.size, list.length)
            for (const at of [9, 9 + 1024, 9 + 2048, 10]) {
              const expected = list.find((known) => known.port === at)?.pcb ?? 0
              assert.equal(t.lookup('10.0.0.1', at, '10.0.0.9', 1), expected)
              assert.equal(t.table.find(at, 20, at), expected)
            }
          }
          for (const { pcb } of list) t.table.remove(pcb)
        }),
        { seed: 8, numRuns: 100 },
      )
    })
  })
})
