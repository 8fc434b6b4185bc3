import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { buckets, handoff as row, snapshotOf as snapshot } from './stat/testing/snapshot.ts'
import { costTable, count, cpuTable, dropTable, handoffTable, isDrop, table } from './table.ts'

/** The cells of a line; two spaces part them. */
const cells = (line: string) => line.split(/ {2,}/)

describe('a table', () => {
  test('puts words left and numbers right, however many digits they have', () => {
    const text = table(
      ['name', 'cpu', 'count'],
      [
        ['a', 'all', 7],
        ['longer', 'all', 1_234_567],
        ['b', 'all', 12],
      ],
    )
    assert.equal(
      text,
      [
        'name    cpu      count', //
        'a       all          7',
        'longer  all  1 234 567',
        'b       all         12',
      ].join('\n'),
    )
  })

  test('is its heading where there is nothing', () => {
    assert.equal(table(['a', 'b', 'c'], []), 'a  b  c')
  })

  test('ends all lines at the same column when the last one is a number', () => {
    const rows = Array.from({ length: 16 }, (_, i) => ['x'.repeat(i), 'all', 10 ** i] as const)
    const lengths = table(['name', 'cpu', 'count'], rows)
      .split('\n')
      .map((line) => line.length)
    assert.equal(new Set(lengths).size, 1)
  })
})

describe('a count', () => {
  test('is grouped by thousands', () => {
    assert.deepEqual([0, 999, 1000, 12345, 1e6, 1234567890].map(count), [
      '0',
      '999',
      '1 000',
      '12 345',
      '1 000 000',
      '1 234 567 890',
    ])
  })

  test('is whole', () => {
    assert.equal(count(1999.6), '2 000')
  })
})

describe('the hand-off table', () => {
  const handoffs = [
    row({ source: 0, target: 1, enqueued: 10, dequeued: 8, dropped: 1, rung: 3, depth: buckets({ 1: 4 }) }),
    row({ source: 1, target: 0, enqueued: 5, dequeued: 5, rung: 1, avoided: 2, depth: buckets({ 3: 4 }) }),
    row({ point: 'ring', enqueued: 1, dequeued: 1, endedEmpty: 3, endedLimit: 1 }),
  ]

  test('adds up the pairs of each point, in the order of a packet’s way', () => {
    const [, ...lines] = handoffTable(snapshot({ cpus: 2, handoffs }), false).split('\n')
    assert.deepEqual(lines.map((line) => cells(line)[0]).sort(), ['ring', 'rx'])
    const rx = cells(lines.find((line) => line.startsWith('rx'))!)
    assert.deepEqual(rx.slice(0, 6), ['rx', 'all', '15', '13', '1', '2.0'])
    assert.deepEqual(rx.slice(-2), ['4', '2'])
  })

  test('keeps the pairs apart when asked', () => {
    const text = handoffTable(snapshot({ cpus: 2, handoffs }), true)
    assert.match(text, /^rx +0 → 1 +10 +8 +1 /m)
    assert.match(text, /^rx +1 → 0 +5 +5 +0 /m)
  })

  test('tells the share of services that ended at their limit', () => {
    const [head, line] = handoffTable(snapshot({ cpus: 2, handoffs: handoffs.slice(2) }), false).split('\n')
    assert.equal(cells(line!)[cells(head!).indexOf('limit %')], '25')
  })
})

describe('the cost table', () => {
  test('divides by the packets delivered', () => {
    const counters = [{ 'ip.delivered': 100, 'cpu.messagesSent': 50 }, { 'ip.delivered': 100 }]
    const text = costTable(snapshot({ cpus: 2, counters, handoffs: [row({ enqueued: 30, dequeued: 20 })] }))
    assert.match(text, /^queue operations +50 +0\.2500$/m)
    assert.match(text, /^messages +50 +0\.2500$/m)
  })

  test('divides by nothing where nothing was delivered', () => {
    assert.match(costTable(snapshot({ counters: [{ 'cpu.messagesSent': 5 }] })), /^messages +5 +–$/m)
    assert.doesNotMatch(costTable(snapshot({})), /NaN|Infinity/)
  })
})

describe('the CPU table', () => {
  test('shares the time among busy, spinning and asleep', () => {
    const text = cpuTable(snapshot({ counters: [{ 'cpu.busyUs': 1, 'cpu.idleUs': 1, 'cpu.sleepUs': 2 }] }))
    assert.match(text, /^cpu 0 .* 25\.0 +25\.0 +50\.0 /m)
  })

  test('is no division by zero for a CPU that has just begun', () => {
    assert.doesNotMatch(cpuTable(snapshot({})), /NaN|Infinity/)
  })
})

describe('the drop table', () => {
  test('names what was dropped, over all CPUs, and nothing else', () => {
    const counters = [
      { 'ip.droppedChecksum': 2, 'ip.received': 9, 'udp.noPort': 0, 'device.transmitFull': 1 },
      { 'ip.droppedChecksum': 1, 'ip.sendNoRoute': 4 },
    ]
    const [, ...lines] = dropTable(snapshot({ cpus: 2, counters })).split('\n')
    assert.deepEqual(lines.map(cells), [
      ['device.transmitFull', '1'],
      ['ip.droppedChecksum', '3'],
      ['ip.sendNoRoute', '4'],
    ])
  })

  test('knows each name for a loss, and none for what was not lost', () => {
    const lost = [
      'arp.packetsDropped',
      'device.receiveNoMbuf',
      'device.transmitNoMbuf',
      'fault.lostInBurst',
      'fault.partitioned',
      'ip.sentNoMemory',
      'fault.blackHoled',
      'fault.tailDropped',
      'hub.full',
      'mbuf.exhausted',
      'tcp socket.receiveDropped',
    ]
    assert.deepEqual(
      lost.filter((name) => !isDrop(name)),
      [],
    )
    const fine = [
      'ip.delivered',
      'ip.sent',
      'tcp.backlogFull',
      'arp.packetsHeld',
      'fault.offered',
      'udp.sent',
      'fault.held',
    ]
    assert.deepEqual(fine.filter(isDrop), [])
  })

  test('is empty where nothing was', () => {
    assert.equal(dropTable(snapshot({ counters: [{ 'ip.droppedChecksum': 0, 'ip.delivered': 3 }] })), '')
  })
})
