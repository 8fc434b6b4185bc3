import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Life, LifeHop } from '../../kernel/trace/life.ts'
import type { PacketOrder, PacketTrace } from '../../service/packet.ts'
import { UsageError } from '../usage.ts'
import { askPacket, lifeText, packetText, parsePacket, withPacketValue } from './packet.ts'

const nothing: LifeHop = {
  kind: 'packet',
  cpu: 0,
  to: 'df0',
  atUs: 1000,
  id: 0x12,
  frames: [],
  parent: 0,
  subject: '',
  bytes: 0,
  label: 'df0',
  localPort: 0,
  remotePort: 0,
  point: '',
  target: 0,
  taken: undefined,
  sinceUs: 0,
  afterUs: 0,
  branch: 0,
}
const hop = (fields: Partial<LifeHop>): LifeHop => ({ ...nothing, id: 0x13, ...fields })

const life: Life = {
  id: 0x12,
  begins: 'origin',
  isCut: false,
  hops: [
    hop({ id: 0x12, bytes: 74 }),
    hop({
      kind: 'send',
      to: 'host/netisr/1',
      subject: 'mbuf',
      point: 'netisr',
      target: 1,
      taken: 2.14,
      sinceUs: 3.2,
      afterUs: 3.2,
    }),
    hop({ kind: 'read', cpu: 1, to: 'tcp port 80, from port 5000', bytes: 12, sinceUs: 130.7, afterUs: 127.5 }),
    hop({
      kind: 'call',
      cpu: 1,
      to: 'ask',
      subject: 'ask',
      point: 'port',
      taken: 'called',
      frames: [{ function: 'answers', file: '/server.ts', line: 12, column: 5 }],
      sinceUs: 131,
      afterUs: 0.3,
      branch: 1,
    }),
    hop({
      kind: 'transmit',
      id: 0x2a,
      cpu: 1,
      bytes: 66,
      taken: 1500,
      sinceUs: 140.04,
      afterUs: 9.3,
      branch: 1,
    }),
  ],
}

describe('the life of a packet as text', () => {
  test('is a line for each hop, aligned, with what became of what was sent', () => {
    assert.equal(
      lifeText(life, 3000, false),
      [
        'packet 0x00000012, 2.0 ms ago: 5 hops in 140.0 µs',
        'at µs   after  cpu  hop',
        '  0.0       –    0  packet received: df0, 74 bytes',
        '  3.2    +3.2    0  sent "mbuf" to netisr of cpu 1 (host/netisr/1), waited 2.1 µs',
        '130.7  +127.5    1  read: tcp port 80, from port 5000, 12 bytes',
        '131.0    +0.3    1    called "ask" to port ask, a call',
        '140.0    +9.3    1    transmitted: df0, 66 bytes, received after 1.5 ms',
      ].join('\n'),
    )
  })

  test('has the stacks under their hops where they are asked for', () => {
    const lines = lifeText(life, 3000, true).split('\n')
    assert.equal(lines[6], `${' '.repeat(22)}at answers (/server.ts:12:5)`)
    assert.equal(lines.length, 8)
  })

  test('marks the hop that was asked for, and says what is missing at either end', () => {
    const text = lifeText({ ...life, id: 0x2a, begins: 'evicted', isCut: true }, 3000, false)
    assert.match(text, /^packet 0x0000002a, /)
    assert.match(text, /hop\n\(what came before is no longer kept\)\n/)
    assert.match(text, /transmitted: df0, .* ◄\n\(and more\)$/)
    assert.match(lifeText({ ...life, begins: 'limit' }, 3000, false), /hop\n\(and more before that\)\n/)
  })

  test('is a sentence that says what to do, where there is none', () => {
    const answer = { nowUs: 1, sinceUs: 0 }
    assert.match(
      packetText({ ...answer, mode: 'off' }, false),
      /^tracing is off: turn it on by damselfly trace --mode all/,
    )
    assert.match(
      packetText({ ...answer, mode: '1/100' }, false),
      /^no such packet .* with tracing 1\/100: wait for one by /,
    )
  })
})

describe('the choice of a packet', () => {
  test('is a number of a trace, or words', () => {
    const cases: [string, object][] = [
      ['newest', {}],
      ['next', { next: true }],
      ['0x2a', { id: 42 }],
      ['0x0000002A', { id: 42 }],
      ['tcp', { protocol: 'tcp' }],
      ['tcp:80', { protocol: 'tcp', port: 80 }],
      ['next,udp:53', { next: true, protocol: 'udp', port: 53 }],
    ]
    for (const [text, choice] of cases) assert.deepEqual(parsePacket(text), choice, text)
    for (const text of ['', '42', '0x', '0x0', '0xffffffff', 'tcp:0', 'tcp:65536', 'icmp', 'next,', 'TCP']) {
      assert.throws(() => parsePacket(text), UsageError, text)
    }
  })

  test('may be left out: it is the newest then', () => {
    assert.deepEqual(withPacketValue(['--packet']), ['--packet=newest'])
    assert.deepEqual(withPacketValue(['--packet', '--json']), ['--packet=newest', '--json'])
    assert.deepEqual(withPacketValue(['--packet', 'next', '--json']), ['--packet', 'next', '--json'])
  })

  test('is asked for again, since the same time, until there is such a packet or the time is over', async () => {
    const orders: PacketOrder[] = []
    const answers = (found: number) => async (order: PacketOrder) => {
      orders.push(order)
      const answer: PacketTrace = { nowUs: 9, sinceUs: 7, mode: 'all' }
      return orders.length === found ? { ...answer, life } : answer
    }
    assert.equal((await askPacket({ next: true }, 60_000, answers(2))).life, life)
    assert.deepEqual(
      orders.map(({ next, sinceUs, patienceMs }) => [next, sinceUs, patienceMs]),
      [
        [true, undefined, 2000],
        [true, 7, 2000],
      ],
    )
    orders.length = 0
    assert.equal((await askPacket({}, 4500, answers(0))).life, undefined)
    assert.deepEqual(
      orders.map(({ patienceMs }) => patienceMs),
      [2000, 2000, 500],
    )
  })
})
