import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { GroupCounters, IpCounters } from '../counters.ts'
import { ip } from '../testing/frame.ts'
import { igmp, onSegments, query3, type Segment, withSegment } from './testing/segment.ts'

const GROUP = '224.1.2.3'
const OTHER = '239.255.0.9'
const QUERY = 0x11
const REPORT1 = 0x12
const REPORT2 = 0x16
const SECOND = 1_000_000

/** A socket of a host that has joined these groups, and has repeated what it has to. */
function member(segment: Segment, groups: readonly string[] = [GROUP], host = 0) {
  const cpu = segment.cpuCount - 1
  const socket = segment.open(host, { port: 9, shared: true }, cpu)
  for (const group of groups) segment.join(host, socket, { group }, cpu)
  segment.run(11 * SECOND)
  segment.igmp()
  return {
    socket,
    leave: (group = GROUP) => segment.leave(host, socket, { group }, cpu),
    join: (group = GROUP) => segment.join(host, socket, { group }, cpu),
  }
}

describe('igmp', () => {
  onSegments(
    'a group that is joined is reported at once, and once more within 10 s (@rfc 1122 3.2.3)',
    {},
    (segment) => {
      const socket = segment.open(0, { port: 9 })
      const atUs = segment.nowUs
      segment.join(0, socket, { group: GROUP })
      const [first, ...rest] = segment.igmp()
      assert.deepEqual(rest, [])
      const { source, target, type, group } = first!
      assert.deepEqual(
        { source, target, type, group },
        { source: '10.0.0.1', target: GROUP, type: REPORT2, group: GROUP },
      )
      segment.run(10 * SECOND + 1000)
      const [second, ...more] = segment.igmp()
      assert.deepEqual(more, [])
      assert.equal(second!.type, REPORT2)
      assert(second!.atUs - atUs > 1000, 'not at once')
      segment.run(60 * SECOND)
      segment.expectIgmp()
    },
  )

  onSegments(
    'a group is reported for its first member, and left with its last, on whichever CPUs they are',
    {},
    (segment) => {
      const sockets = [0, 1, 2, 3].map((i) => ({ cpu: i % segment.cpuCount, port: 100 + i }))
      const open = sockets.map(({ cpu, port }) => ({ cpu, socket: segment.open(0, { port }, cpu) }))
      for (const { cpu, socket } of open) segment.join(0, socket, { group: GROUP }, cpu)
      segment.expectIgmp(`16 ${GROUP}`)
      segment.run(11 * SECOND)
      segment.expectIgmp(`16 ${GROUP}`)
      // Some leave, some are closed.
      for (const { cpu, socket } of open.slice(0, 2)) segment.leave(0, socket, { group: GROUP }, cpu)
      segment.close(0, open[2]!.socket, open[2]!.cpu)
      segment.expectIgmp()
      segment.close(0, open[3]!.socket, open[3]!.cpu)
      segment.run()
      const [left] = segment.igmp()
      assert.deepEqual([left!.type, left!.group, left!.target], [0x17, GROUP, '224.0.0.2'])
      assert.equal(segment.count(GroupCounters, 'joined'), 1)
      assert.equal(segment.count(GroupCounters, 'left'), 1)
    },
  )

  onSegments('all systems are a group that everybody is in and nobody reports', {}, (segment) => {
    const socket = segment.open(0, { port: 9 })
    segment.join(0, socket, { group: '224.0.0.1' })
    segment.run(11 * SECOND)
    segment.inject(igmp({ type: QUERY, code: 10 }))
    segment.run(2 * SECOND)
    segment.leave(0, socket, { group: '224.0.0.1' })
    segment.expectIgmp()
  })

  onSegments('a general query is answered once for each group, within its time', {}, (segment) => {
    const groups = ['224.1.1.1', '224.1.1.2', '224.1.1.3', '239.2.2.2', '224.0.0.251']
    member(segment, groups)
    for (const tenths of [1, 20, 100]) {
      const atUs = segment.nowUs
      segment.inject(igmp({ type: QUERY, code: tenths }))
      segment.run(tenths * 100_000 + 2000)
      const answers = segment.igmp()
      assert.deepEqual(answers.map(({ group }) => group).sort(), [...groups].sort())
      assert(answers.every(({ type, atUs: at }) => type === REPORT2 && at - atUs <= tenths * 100_000 + 2000))
    }
    segment.run(30 * SECOND)
    segment.expectIgmp()
  })

  onSegments('answers are spread over the time that there is for them', {}, (segment) => {
    member(
      segment,
      Array.from({ length: 40 }, (_, i) => `224.1.1.${i}`),
    )
    const atUs = segment.nowUs
    segment.inject(igmp({ type: QUERY, code: 100 }))
    segment.run(11 * SECOND)
    const late = segment.igmp().filter((each) => each.atUs - atUs > 5 * SECOND).length
    assert(late > 8 && late < 32, `${late} of 40 are in the second half`)
  })

  onSegments('a query of one group is answered for that group', {}, (segment) => {
    member(segment, [GROUP, OTHER])
    segment.inject(igmp({ type: QUERY, code: 10, group: OTHER }))
    segment.run(2 * SECOND)
    segment.expectIgmp(`16 ${OTHER}`)
    // Of a group that nobody here has joined not even IP wants to know.
    segment.inject(igmp({ type: QUERY, code: 10, group: '224.9.9.9' }))
    segment.run(2 * SECOND)
    segment.expectIgmp()
    assert.deepEqual(segment.drops(IpCounters), { droppedNotOurs: 1 })
  })

  onSegments(
    'a query that leaves less time than is left is answered sooner, one that leaves more changes nothing',
    {},
    (segment) => {
      member(
        segment,
        Array.from({ length: 20 }, (_, i) => `224.1.1.${i}`),
      )
      segment.post(igmp({ type: QUERY, code: 255 }))
      segment.inject(igmp({ type: QUERY, code: 1 }))
      segment.run(200_000)
      assert.equal(segment.igmp().length, 20)
      segment.run(30 * SECOND)
      segment.expectIgmp()
      segment.post(igmp({ type: QUERY, code: 1 }))
      segment.inject(igmp({ type: QUERY, code: 255 }))
      segment.run(200_000)
      assert.equal(segment.igmp().length, 20)
      segment.run(30 * SECOND)
      segment.expectIgmp()
    },
  )

  onSegments('who hears the report of another host says nothing, and does not leave aloud', {}, (segment) => {
    const { leave } = member(segment)
    segment.inject(igmp({ type: QUERY, code: 100 }))
    segment.inject(igmp({ type: REPORT2, group: GROUP }))
    segment.run(11 * SECOND)
    segment.expectIgmp()
    assert.equal(segment.count(GroupCounters, 'suppressed'), 1)
    leave()
    segment.expectIgmp()
  })

  onSegments('who has reported last leaves aloud', {}, (segment) => {
    const { leave } = member(segment)
    segment.inject(igmp({ type: QUERY, code: 100 }))
    segment.inject(igmp({ type: REPORT1, group: GROUP }))
    segment.inject(igmp({ type: QUERY, code: 10, group: GROUP }))
    segment.run(2 * SECOND)
    segment.expectIgmp(`16 ${GROUP}`)
    // Only a report that is waited for is suppressed.
    segment.inject(igmp({ type: REPORT2, group: GROUP }))
    leave()
    segment.expectIgmp(`17 ${GROUP}`)
  })

  onSegments('a group that is left before its second report is not reported again', {}, (segment) => {
    const socket = segment.open(0, { port: 9 })
    segment.join(0, socket, { group: GROUP })
    segment.leave(0, socket, { group: GROUP })
    segment.expectIgmp(`16 ${GROUP}`, `17 ${GROUP}`)
    segment.inject(igmp({ type: QUERY, code: 10 }))
    segment.run(60 * SECOND)
    segment.expectIgmp()
  })

  onSegments('who hears a querier of version 1 speaks version 1 for 400 s, and leaves in silence', {}, (segment) => {
    const { join, leave } = member(segment)
    segment.inject(igmp({ type: QUERY, code: 0 }))
    segment.run(11 * SECOND)
    segment.expectIgmp(`12 ${GROUP}`)
    // A querier of version 2 beside it changes nothing.
    segment.inject(igmp({ type: QUERY, code: 10 }))
    segment.run(2 * SECOND)
    segment.expectIgmp(`12 ${GROUP}`)
    leave()
    segment.expectIgmp()
    join()
    segment.run(11 * SECOND)
    segment.expectIgmp(`12 ${GROUP}`, `12 ${GROUP}`)
    segment.run(400 * SECOND)
    segment.inject(igmp({ type: QUERY, code: 10 }))
    segment.run(2 * SECOND)
    segment.expectIgmp(`16 ${GROUP}`)
  })

  const hostile: readonly [string, Uint8Array, string][] = [
    ['a wrong checksum', igmp({ type: QUERY, code: 10, checksum: 0x1234 }), 'droppedChecksum'],
    ['a message of 7 bytes', ip({ protocol: 2, target: '224.0.0.1', ttl: 1 }, new Uint8Array(7)), 'droppedShort'],
    ['an empty message', ip({ protocol: 2, target: '224.0.0.1', ttl: 1 }, new Uint8Array(0)), 'droppedShort'],
    ['a query of 10 bytes', igmp({ type: QUERY, code: 10, extra: [0, 0] }), 'droppedLength'],
    [
      'a query with fewer sources than it says',
      igmp({ type: QUERY, code: 10, extra: [2, 125, 0, 9] }),
      'droppedLength',
    ],
    ['a query from beyond the link', igmp({ type: QUERY, code: 10, ttl: 64 }), 'droppedTtl'],
    ['a report from beyond the link', igmp({ type: REPORT2, group: GROUP, ttl: 2 }), 'droppedTtl'],
    ['a query about a host', igmp({ type: QUERY, code: 10, group: '10.0.0.1', target: '224.0.0.1' }), 'droppedGroup'],
    ['a report about a host', igmp({ type: REPORT2, group: '10.0.0.7', target: GROUP }), 'droppedGroup'],
    ['a general query to one host', igmp({ type: QUERY, code: 10, target: '10.0.0.1' }), 'droppedTarget'],
    ['a general query to a group', igmp({ type: QUERY, code: 10, target: GROUP }), 'droppedTarget'],
    ['a general query to everybody', igmp({ type: QUERY, code: 10, target: '10.0.0.255' }), 'droppedTarget'],
    ['a report to one host', igmp({ type: REPORT2, group: GROUP, target: '10.0.0.1' }), 'droppedTarget'],
    ['a query of a group to another', igmp({ type: QUERY, code: 10, group: OTHER, target: GROUP }), 'droppedTarget'],
  ]
  for (const [name, packet, reason] of hostile) {
    onSegments(`${name} is dropped as ${reason}, and changes nothing`, {}, (segment) => {
      member(segment)
      segment.inject(packet)
      segment.run(11 * SECOND)
      segment.expectIgmp()
      assert.deepEqual(segment.drops(GroupCounters), { [reason]: 1 })
      // A report that was waited for is still said.
      segment.inject(igmp({ type: QUERY, code: 100 }))
      segment.inject(packet)
      segment.run(11 * SECOND)
      segment.expectIgmp(`16 ${GROUP}`)
    })
  }

  onSegments('what routers say to each other is ignored', {}, (segment) => {
    member(segment)
    for (const type of [0, 0x13, 0x14, 0x17, 0x22, 0x30, 0xff]) segment.inject(igmp({ type, group: GROUP }))
    segment.run(11 * SECOND)
    segment.expectIgmp()
    assert.equal(segment.count(GroupCounters, 'ignored'), 7)
  })

  test('no bytes break it, whatever they are', () => {
    withSegment({ cpus: 2, seed: 3 }, (segment) => {
      member(segment)
      const known = fc.constantFrom(QUERY, QUERY, REPORT1, REPORT2, 0x22)
      const type = fc.oneof({ weight: 7, arbitrary: known }, { weight: 1, arbitrary: fc.nat(255) })
      const target = fc.constantFrom('224.0.0.1', '224.0.0.1', GROUP, '10.0.0.1', '10.0.0.255', '255.255.255.255')
      const group = fc.constantFrom('0.0.0.0', GROUP, '10.0.0.1', '224.0.0.1')
      const extra = fc.oneof(fc.constant([]), fc.constant([2, 125, 0, 0]), fc.array(fc.nat(255), { maxLength: 24 }))
      const fields = { type, code: fc.nat(255), target, group, extra, ttl: fc.constantFrom(1, 1, 1, 64) }
      // Without a target of its own a message goes where it belongs.
      const message = fc.record(fields, { requiredKeys: ['type', 'code', 'group', 'extra', 'ttl'] })
      fc.assert(
        fc.property(message, (made) => segment.inject(igmp(made))),
        { seed: 11, numRuns: 400 },
      )
      const { received, queries } = segment.counts(GroupCounters)
      assert.equal(received, 400)
      assert(queries > 20, 'some of them were queries')
      // And it still does what it should.
      segment.run(1000 * SECOND)
      segment.igmp()
      segment.inject(igmp({ type: QUERY, code: 10 }))
      segment.run(2 * SECOND)
      segment.expectIgmp(`16 ${GROUP}`)
    })
  })

  onSegments('a group is joined on one interface, and on another one it is another', { links: 2 }, (segment) => {
    const socket = segment.open(0, { port: 9 })
    segment.join(0, socket, { group: GROUP, interface: 'e1' })
    segment.join(0, socket, { group: OTHER, interface: '10.0.0.1' })
    const heard = segment.igmp().map(({ link, source, group }) => [link, source, group])
    assert.deepEqual(heard, [
      [1, '10.0.1.1', GROUP],
      [0, '10.0.0.1', OTHER],
    ])
    segment.run(11 * SECOND)
    segment.igmp()
    segment.inject(igmp({ type: QUERY, code: 10, source: '10.0.1.9' }), 1)
    segment.run(2 * SECOND)
    assert.deepEqual(
      segment.igmp().map(({ link, group }) => [link, group]),
      [[1, GROUP]],
    )
  })

  test('two hosts that have joined the same group: one answers, the other is silent', () => {
    for (const cpus of [1, 2]) {
      withSegment({ hosts: 2, cpus, seed: 20 + cpus }, (segment) => {
        const members = [member(segment, [GROUP], 0), member(segment, [GROUP], 1)]
        segment.inject(igmp({ type: QUERY, code: 100 }))
        segment.run(11 * SECOND)
        const answers = segment.igmp()
        assert.equal(answers.length, 1)
        const reporter = answers[0]!.source === '10.0.0.1' ? 0 : 1
        members[1 - reporter]!.leave()
        segment.expectIgmp()
        members[reporter]!.leave()
        segment.expectIgmp(`17 ${GROUP}`)
      })
    }
  })

  test('a machine that stops while reports are waited for leaves nothing behind', () => {
    withSegment({ cpus: 2 }, (segment) => {
      member(segment, [GROUP, OTHER])
      segment.inject(igmp({ type: QUERY, code: 200 }))
      segment.inject(query3('0.0.0.0', 200))
    })
  })
})

describe('igmp version 3', () => {
  /** A host that has heard a querier of version 3, and joins after it. */
  function withQuerier(segment: Segment, groups: readonly string[] = [GROUP]) {
    const one = member(segment, groups)
    segment.inject(query3('0.0.0.0', 1))
    segment.run(SECOND)
    segment.igmp()
    return one
  }

  onSegments('a general query is answered by one report of all groups, to the routers of version 3', {}, (segment) => {
    const groups = Array.from({ length: 200 }, (_, i) => `239.1.${i >> 7}.${i & 127}`)
    member(segment, groups)
    segment.inject(query3('0.0.0.0', 20))
    segment.run(2 * SECOND + 2000)
    const reports = segment.igmp()
    // As many as fit.
    assert.deepEqual(
      reports.map(({ records }) => records.length),
      [128, 72],
    )
    assert(reports.every(({ target, type }) => type === 0x22 && target === '224.0.0.22'))
    const records = reports.flatMap((report) => report.records)
    assert(records.every(({ type }) => type === 2))
    assert.deepEqual(records.map(({ group }) => group).sort(), [...groups].sort())
    segment.run(60 * SECOND)
    segment.expectIgmp()
  })

  onSegments('a query of a group, or of sources of it, is answered for the group', {}, (segment) => {
    withQuerier(segment, [GROUP, OTHER])
    segment.inject(query3(OTHER, 10))
    segment.run(2 * SECOND)
    segment.expectIgmp(`22: 2 ${OTHER}`)
    segment.inject(query3(GROUP, 10, ['10.0.0.7', '10.0.0.8']))
    segment.run(2 * SECOND)
    segment.expectIgmp(`22: 2 ${GROUP}`)
  })

  onSegments('a change is said twice within a second', {}, (segment) => {
    const { join, leave } = withQuerier(segment)
    join(OTHER)
    segment.expectIgmp(`22: 4 ${OTHER}`)
    segment.run(SECOND + 1000)
    segment.expectIgmp(`22: 4 ${OTHER}`)
    leave(GROUP)
    segment.expectIgmp(`22: 3 ${GROUP}`)
    segment.run(SECOND + 1000)
    segment.expectIgmp(`22: 3 ${GROUP}`)
    segment.run(20 * SECOND)
    segment.inject(query3('0.0.0.0', 10))
    segment.run(2 * SECOND)
    segment.expectIgmp(`22: 2 ${OTHER}`)
  })

  onSegments('who joins again while the leave is still being said has joined', {}, (segment) => {
    const { join, leave } = withQuerier(segment)
    leave()
    join()
    segment.run(2 * SECOND)
    const records = segment.igmp().map(({ records }) => records[0]!.type)
    assert.deepEqual(records, [3, 4, 4])
  })

  onSegments('nobody is silent because another host has reported', {}, (segment) => {
    withQuerier(segment)
    segment.inject(query3('0.0.0.0', 10))
    segment.inject(igmp({ type: REPORT2, group: GROUP }))
    segment.run(2 * SECOND)
    segment.expectIgmp(`22: 2 ${GROUP}`)
  })

  onSegments('who hears an older querier speaks as it does, and version 3 again 260 s later', {}, (segment) => {
    withQuerier(segment)
    segment.inject(igmp({ type: QUERY, code: 10 }))
    segment.run(2 * SECOND)
    segment.expectIgmp(`16 ${GROUP}`)
    segment.inject(query3('0.0.0.0', 10))
    segment.run(2 * SECOND)
    segment.expectIgmp(`16 ${GROUP}`)
    segment.run(260 * SECOND)
    segment.inject(query3('0.0.0.0', 10))
    segment.run(2 * SECOND)
    segment.expectIgmp(`22: 2 ${GROUP}`)
  })
})
