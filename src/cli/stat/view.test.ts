// The tables of `damselfly stat`, as they are printed.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { amortized } from './amortized.ts'
import { configuration } from './configuration.ts'
import { locks } from './lock.ts'
import { losses, protocols } from './protocol.ts'
import { buckets, busySnapshot, handoff, lockOf, snapshotOf } from './testing/snapshot.ts'
import { view } from './view.ts'
import { SORT_COLUMNS, workstreams } from './workstream.ts'

const busy = busySnapshot()
const lines = (...text: readonly string[]) => text.join('\n')
/** The first two cells of each line: which CPU, and which point. */
const order = (text: string) =>
  text
    .split('\n')
    .slice(2)
    .map((line) => line.split(/ {2,}/).slice(0, 2).join(' '))

describe('the configuration', () => {
  test('is what the machine was booted as, and its bounds', () => {
    assert.equal(
      configuration(busy),
      lines(
        'Configuration',
        '  CPUs                                   2',
        '  host                                   threads',
        '  discipline                             connp-l',
        '  connection groups                      128',
        '  dispatch policy                        direct: a call on the CPU that owns the flow, else by its queue; TCP where it arrives',
        '  entries of each IPI ring               256',
        '  memory                                 512 MiB',
        '  messages that a port serves at a time  32',
        '  packets that a device gives at a time  64',
        '  IPIs that are published at a time      16',
        '  ports of each CPU                      1 024',
        '  threads of each CPU                    1 024',
      ),
    )
  })

  test('names no discipline where none is known', () => {
    assert.doesNotMatch(configuration(snapshotOf({})), /discipline|groups/)
  })
})

describe('the protocols', () => {
  test('tell who is handed packets how, and what became of them', () => {
    assert.equal(
      protocols(busy),
      lines(
        'Protocols',
        'name   policy  dispatch           limit     in  out  queued  qdrops  lost',
        'ether  source    direct       64 a turn  1 000  900       0       0     6',
        'arp    cpu       direct  48 a neighbour      0    0       0       0     0',
        'ip     flow      direct  4096 fragments    998  900       0       0     8',
        'icmp   flow      direct               –      0    0       0       0     0',
        'igmp   flow      direct               –      0    0       0       0     0',
        'udp    flow      direct       by socket      0    0       0       0     0',
        'tcp    source    direct  4 MiB a socket    990  880       0       0     0',
      ),
    )
  })

  test('take TCP to the flow’s CPU where the discipline is threads, as it is by default', () => {
    for (const snapshot of [snapshotOf({}), snapshotOf({ discipline: 'connp-t' })]) {
      assert.match(protocols(snapshot), /^tcp +flow +direct /m)
      assert.doesNotMatch(configuration(snapshot), /TCP/)
    }
  })

  test('have the dispatch that the machine says', () => {
    const snapshot = snapshotOf({
      dispatch: { udp: 'deferred', ip: 'hybrid', tcp: 'direct' },
      queueLimit: 256,
      counters: [{ 'netisr.queuedUdp': 7, 'netisr.droppedUdp': 2, 'dispatch.handedOff': 3 }],
    })
    const text = protocols(snapshot)
    assert.match(text, /^udp +flow +deferred +256 packets +0 +0 +7 +2 +2$/m)
    assert.match(text, /^ip +flow +hybrid +256 packets +0 +0 +3 +0 +0$/m)
    assert.match(text, /^tcp +flow +direct +4 MiB a socket /m)
    assert.match(
      configuration(snapshot),
      /^ +dispatch policy +direct: .*, else by its queue; udp deferred; ip hybrid$/m,
    )
    assert.match(configuration(snapshot), /^ +packets in a queue +256$/m)
    assert.match(losses(snapshot), /^udp +netisr.droppedUdp +2$/m)
  })

  test('and the layers are told where boundaries are queues', () => {
    const text = configuration(snapshotOf({ layers: ['ether', 'tcp'], queueLimit: 1024 }))
    assert.match(text, /^ +layers with a thread each +ether, tcp$/m)
    assert.match(text, /^ +packets in a queue +1 024$/m)
    assert.doesNotMatch(configuration(snapshotOf({ layers: [], queueLimit: 1024 })), /layers|in a queue/)
  })

  test('name what was lost, and why', () => {
    assert.equal(
      losses(busy),
      lines(
        'Lost',
        'protocol  why                 packets',
        'ether     ether.droppedRunt         2',
        'ether     fault.lost                4',
        'ip        ip.droppedChecksum        8',
      ),
    )
    const elsewhere = snapshotOf({ counters: [{ 'mbuf.exhausted': 3, 'ip.droppedTtl': 0 }] })
    assert.match(losses(elsewhere), /^– +mbuf\.exhausted +3$/m)
    assert.equal(losses(snapshotOf({ counters: [{ 'ip.droppedTtl': 0, 'ip.delivered': 7 }] })), '')
  })
})

describe('the workstreams', () => {
  test('have a line for each CPU and hand-off point, and one for each CPU', () => {
    assert.equal(
      workstreams(busy),
      lines(
        'Workstreams',
        "cpu    point   len  wmark  disp'd  queued  handled  dropped  depth p50  p99  wait µs p50  p99  batch  p99  empty  limit  rung  avoided  spurious  sleeps",
        'cpu 0  netisr    8     23     600     400      390        2          1   20          0.9  8.0    5.0   10     90     10     –        –         –       –',
        'cpu 0  all       8      –     650     400      390        2          –    –            –    –      –    –     90     10     0        0         3      20',
        'cpu 1  rx        0     23       –   1 000    1 000        0         20   20          4.0  4.0   19.5   20     50      0     7       43         –       –',
        'cpu 1  all       0      –       0   1 000    1 000        0          –    –            –    –      –    –     50      0     7       43         0      30',
      ),
    )
  })

  test('add up what comes from several CPUs', () => {
    const rows = [
      handoff({ source: 0, enqueued: 4, length: 1, depth: buckets({ 1: 1 }) }),
      handoff({ source: 1, enqueued: 5, length: 2, depth: buckets({ 4: 1 }) }),
    ]
    const text = workstreams(snapshotOf({ cpus: 2, handoffs: rows }))
    assert.match(text, /^cpu 1 {2}rx +3 +5 +– +9 /m)
  })

  test('say nothing where nothing is measured', () => {
    const text = workstreams(snapshotOf({ cpus: 2, handoffs: [handoff({ point: 'free', enqueued: 3 })] }))
    assert.match(text, /^cpu 1 {2}free +0( +–){2} +3 +0 +0( +–){6} +0 +0( +–){4}$/m)
    assert.doesNotMatch(text, /NaN|Infinity/)
  })

  test('are sorted by a column, the largest first, what has no value last', () => {
    const sorted = workstreams(busy, { column: 'wait99', ascending: false })
    assert.deepEqual(order(sorted), ['cpu 0 netisr', 'cpu 1 rx', 'cpu 0 all', 'cpu 1 all'])
    assert.match(sorted, / {2}wait µs p50 {2}p99\* /)
    const queued = order(workstreams(busy, { column: 'queued', ascending: false }))
    assert.deepEqual(queued, ['cpu 1 rx', 'cpu 1 all', 'cpu 0 netisr', 'cpu 0 all'])
  })

  test('are sorted the other way round, what has no value last all the same', () => {
    const sorted = order(workstreams(busy, { column: 'wait99', ascending: true }))
    assert.deepEqual(sorted, ['cpu 1 rx', 'cpu 0 netisr', 'cpu 0 all', 'cpu 1 all'])
  })

  test('can be sorted by each column', () => {
    for (const column of SORT_COLUMNS) assert.equal(order(workstreams(busy, { column, ascending: false })).length, 4)
  })
})

describe('the amortized table', () => {
  test('divides what each CPU did by the packets of all, so that the lines add up', () => {
    assert.equal(
      amortized(busy),
      lines(
        'per delivered packet    queue operations  synchronization   locks  rings and lists  switches  sleeps  threads  doorbells rung  avoided',
        'all CPUs                          2.7900           0.2500  0.1000           0.1500    0.0550  0.0500   0.0050          0.0070   0.0430',
        'cpu 0                             1.7900           0.1900  0.1000           0.0900    0.0250  0.0200   0.0050          0.0070   0.0430',
        'cpu 1                             1.0000           0.0600  0.0000           0.0600    0.0300  0.0300   0.0000          0.0000   0.0000',
      ),
    )
  })

  test('counts an enqueue where it is done: at a port by its own CPU, elsewhere by the source', () => {
    const one = { 'ip.delivered': 1 }
    const operations = (point: 'netisr' | 'ring') =>
      amortized(snapshotOf({ cpus: 2, counters: [one, {}], handoffs: [handoff({ point, enqueued: 3 })] }))
        .split('\n')
        .slice(2)
        .map((line) => Number(line.split(/ {2,}/)[1]))
    assert.deepEqual(operations('netisr'), [0, 3])
    assert.deepEqual(operations('ring'), [3, 0])
  })

  test('divides by nothing where nothing was delivered', () => {
    assert.doesNotMatch(amortized(snapshotOf({})), /NaN|Infinity|\d\.\d/)
  })
})

describe('the locks', () => {
  test('have the columns of LOCK_PROFILING, the longest waited for first; those never taken are left out', () => {
    assert.equal(
      locks(busy),
      lines(
        'Locks',
        'lock   taken at   max µs  wait_max  total  wait_total  count   avg  wait_avg  cnt_hold  cnt_lock  waited',
        'giant  tcp input     8.0      40.0    150       1 234    100  1.50      0.90         9        50  50.0 %',
        'group                8.0      40.0    150          90    100  1.50      0.90         9        10  10.0 %',
      ),
    )
  })

  test('are no table where there are none', () => {
    assert.equal(locks(snapshotOf({ locks: [lockOf({ count: 0 })] })), '')
  })
})

describe('the view', () => {
  const titles = (text: string) => text.split('\n\n').map((part) => part.split(/\n| {2}/)[0])

  test('has all sections, one under the other', () => {
    assert.deepEqual(titles(view(busy, { pairs: true, rates: false })), [
      '1 000 packets delivered, 500 a second',
      'Configuration',
      'Protocols',
      'Workstreams',
      'point',
      'cost',
      'per delivered packet',
      'cpu',
      'Locks',
      'Lost',
    ])
  })

  test('leaves out what is empty, what was not asked for, and in rates what does not change', () => {
    const shown = titles(view(snapshotOf({}), { pairs: false, rates: true }))
    assert.deepEqual(shown, [
      '0 packets delivered a second; all counts are for each second',
      'Protocols',
      'Workstreams',
      'cost',
      'per delivered packet',
      'cpu',
    ])
  })

  test('is no division by zero at boot', () => {
    assert.doesNotMatch(view(snapshotOf({ atUs: 0 }), { pairs: true, rates: false }), /NaN|Infinity/)
  })
})
