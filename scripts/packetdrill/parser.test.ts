import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from './parser.ts'
import type { Action, Packet } from './script.ts'

const action = (text: string): Action => parse(text).events[0]!.action
const packet = (text: string): Packet => {
  const parsed = action(text)
  assert(parsed.kind === 'packet')
  return parsed.packet
}
const fails = (text: string, message: RegExp, line = 1) =>
  assert.throws(() => parse(text), { name: 'ScriptFailure', message, line })
const skips = (text: string, message: RegExp) => assert.throws(() => parse(text), { name: 'Unsupported', message })

test('a segment has flags, a range, an acknowledgment, a window and options', () => {
  assert.deepEqual(packet('+0 < S. 0:0(0) ack 1 win 1000 <mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7>'), {
    kind: 'tcp',
    direction: 'in',
    ...{ flags: 'S.', start: 0, length: 0, ack: 1, window: 1000, urgent: 0 },
    options: [
      { kind: 'mss', value: 1460 },
      { kind: 'sackOK' },
      { kind: 'TS', value: 1, echo: 2 },
      { kind: 'nop' },
      { kind: 'wscale', value: 7 },
    ],
  })
})

test('ports, type of service, ttl, urgent pointers, SACK blocks and "any options" are understood', () => {
  const first = packet('0 > [ect0] 80>5000 PU. 1:101(100) ack 5 urg 100 <nop,nop,sack 1:2 3:4>')
  assert.deepEqual(first.service, { kind: 'ecn', name: 'ect0' })
  assert(first.kind === 'tcp')
  assert.deepEqual(first.ports, { source: 80, target: 5000 })
  assert.equal(first.urgent, 100)
  const blocks = [
    [1, 2],
    [3, 4],
  ]
  assert.deepEqual(first.options, [{ kind: 'nop' }, { kind: 'nop' }, { kind: 'sack', blocks }])
  assert.deepEqual(packet('0 > (tos 0x28) . 1:1(0) ack 1').service, { kind: 'whole', value: 0x28 })
  assert.equal(packet('0 > (ttl 7) . 1:1(0) ack 1').ttl, 7)
  const any = packet('0 > S 0:0(0) <...>')
  assert(any.kind === 'tcp')
  assert.equal(any.options, 'any')
  const none = packet('0 < - 1:1(0) win 5')
  assert(none.kind === 'tcp')
  assert.equal(none.flags, '')
})

test('UDP and ICMP packets are understood', () => {
  assert.deepEqual(packet('0 < udp 1>2 (100)'), {
    ...{ kind: 'udp', direction: 'in', length: 100 },
    ports: { source: 1, target: 2 },
  })
  assert.deepEqual(packet('0 < icmp unreachable frag_needed mtu 1000 [1:1001(1000)]'), {
    ...{ kind: 'icmp', direction: 'in', type: 'unreachable', code: 'frag_needed', mtu: 1000 },
    quoted: { protocol: 'tcp', start: 1, length: 1000 },
  })
  assert.deepEqual(packet('0 < icmp echo_request id 7'), { kind: 'icmp', direction: 'in', type: 'echo_request', id: 7 })
  assert.deepEqual(packet('0 > icmp unreachable port_unreachable [udp (9)]'), {
    ...{ kind: 'icmp', direction: 'out', type: 'unreachable', code: 'port_unreachable' },
    quoted: { protocol: 'udp', start: 0, length: 9 },
  })
})

test('times are absolute, relative, any, or a range; commands may have none', () => {
  const times = parse('`true`\n0.5 > . 1:1(0)\n+.1~+.2 > . 1:1(0)\n* > . 1:1(0)\n1~2 > . 1:1(0)').events.map(
    ({ time }) => time,
  )
  assert.deepEqual(times, [
    { kind: 'none' },
    { kind: 'absolute', us: 500_000 },
    { kind: 'relative', us: 100_000, endUs: 200_000 },
    { kind: 'any' },
    { kind: 'absolute', us: 1_000_000, endUs: 2_000_000 },
  ])
})

test('a call has arguments of all kinds, a result and an errno', () => {
  const parsed = action(
    '+0...0.5 f(3, ..., A|B, [1], {fd=3, events=POLLIN}, {..., 10}, htons(80), "a" "b") = -1 EAGAIN (try again)',
  )
  assert(parsed.kind === 'call')
  const { call } = parsed
  assert.deepEqual(
    [call.name, call.endUs, call.errno, call.result],
    ['f', 500_000, 'EAGAIN', { kind: 'number', value: -1 }],
  )
  const number = (value: number) => ({ kind: 'number', value }) as const
  const word = (name: string) => ({ kind: 'word', name }) as const
  assert.deepEqual(call.args, [
    number(3),
    { kind: 'any' },
    { kind: 'or', parts: [word('A'), word('B')] },
    { kind: 'list', items: [number(1)] },
    {
      kind: 'record',
      fields: new Map<string, unknown>([
        ['fd', number(3)],
        ['events', word('POLLIN')],
      ]),
    },
    { kind: 'list', items: [{ kind: 'any' }, number(10)] },
    { kind: 'call', name: 'htons', args: [number(80)] },
    { kind: 'string', text: 'ab' },
  ])
})

test('the fields of a message may have a length', () => {
  const parsed = action('0 sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 10}], msg_flags=0}, 0) = 10')
  assert(parsed.kind === 'call' && parsed.call.args[1]?.kind === 'record')
  assert.deepEqual([...parsed.call.args[1].fields.keys()], ['msg_name', 'msg_iov', 'msg_flags'])
})

test('options come first, with or without a value', () => {
  assert.deepEqual(parse('--mtu=1500\n--strict_segments\n0 `true`').options, [
    { line: 1, name: 'mtu', value: '1500' },
    { line: 2, name: 'strict_segments', value: '' },
  ])
})

test('what is no script is an error with its line and with what was expected', () => {
  fails('', /the script has no events/)
  fails('\n0 > . 1:5(3)', /1:5 is not 3 bytes/, 2)
  fails('0 < . 1:1(0) ack 1', /an inbound segment has a window: win is expected, and not the end of the script/)
  fails('0 < . 1:1(0) win 70000', /win is 70000: give a number from 0 to 65535/)
  fails('0 < S 0:0(0) win 1 <mss 1460,sackOK>', /options of 6 bytes do not end a word: fill them up with nop/)
  fails('0 < S 0:0(0) win 1 <mss>', /mss is expected, and not >/)
  fails('0 < S 0:0(0) win 1 <fast 1>', /fast is no option/)
  fails('0 < X. 0:0(0) win 1', /flags are expected/)
  fails('0 < S 0:0(0) win 1 <...>', /<\.\.\.> is for outbound packets only/)
  fails('0 < [ect01] . 1:1(0) win 1', /ect01 is for outbound packets only/)
  fails('* < . 1:1(0) win 1', /only an outbound packet can come at any time/)
  fails('1~2 write(3, ..., 1) = 1', /only an outbound packet can come at any time, or within a range/)
  fails('2~1 > . 1:1(0)', /a range of time ends after it has begun/)
  fails('+0 write(3, ..., 1)', /= is expected, and not the end of the script/)
  fails('0 `true`\n--mtu=1500', /options stand before the first event/, 2)
  fails('-1 `true`', /a time is not negative/)
  fails('0 write(3, @) = 1', /a value is expected, and not @/)
})

test('what the stack has not is not understood in another way: the script is skipped', () => {
  skips('0 > S 0:0(0) <FO abcd>', /TCP Fast Open is not supported/)
  skips('0 < S 0:0(0) win 1 <md5 00>', /TCP MD5 signatures are not supported/)
  skips('0 < gre: . 1:1(0) win 1', /gre headers are not supported/)
  skips('0 < ipv4 192.0.2.1 > 192.0.2.2: . 1:1(0) win 1', /ipv4 headers are not supported/)
  skips('0 > (flowlabel 0x1) . 1:1(0)', /flow labels are not supported/)
  skips('0 > SA 0:0(0)', /the AE flag of AccECN is not supported/)
  skips('0 < icmp unreachable [raw (10)]', /raw packets is not supported/)
})
