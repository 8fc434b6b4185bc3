// Scripts that pass, that must not pass, and that must be skipped: what the interpreter is for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type RunOptions, runScript } from './run.ts'

const OPEN = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.1 < . 1:1(0) ack 1 win 32792
+0 accept(3, ..., ...) = 4
`
const STAMPED = OPEN.replace('<mss 1000>', '<mss 1000,sackOK,TS val 1000 ecr 0>')
  .replace('<mss 1460>', '<mss 1460,sackOK,TS val 100 ecr 1000>')
  .replace('ack 1 win 32792', 'ack 1 win 32792 <nop,nop,TS val 1100 ecr 100>')

function passes(text: string, options?: RunOptions): void {
  const { kind, line, reason } = runScript(text, options)
  assert.deepEqual({ kind, line, reason }, { kind: 'pass', line: 0, reason: '' })
}

/** It ends so at the line behind OPEN, counted from 1, or at `line` itself. */
function ends(kind: 'fail' | 'skip', text: string, line: number, reason: RegExp, options?: RunOptions): void {
  const result = runScript(text, options)
  assert.equal(result.kind, kind, result.reason)
  assert.match(result.reason, reason)
  assert.equal(result.line, line)
}

const fails = (rest: string, reason: RegExp, more = 1, open = OPEN) => ends('fail', open + rest, 7 + more, reason)
const skips = (rest: string, reason: RegExp, more = 1) => ends('skip', OPEN + rest, 7 + more, reason)

test('a packet that is not as the script says fails it, and the report has both in its own words', () => {
  const { kind, line, reason, log } = runScript(`${OPEN}+0 write(4, ..., 100) = 100\n+0 > . 1:101(100) ack 1`)
  assert.equal(kind, 'fail')
  assert.equal(line, 9)
  assert.equal(
    reason.replaceAll(/\d\.\d{6}/g, 'T'),
    'flags is expected to be ., and is P.\nscript packet: T > . 1:101(100) ack 1\nactual packet: T > (noecn) P. 1:101(100) ack 1 win 65535',
  )
  assert(log.some((entry) => entry.endsWith('< . 1:1(0) ack 1 win 32792')))
})

test('each field of a segment is compared', () => {
  const written = '+0 write(4, ..., 100) = 100\n'
  fails(`${written}+0 > P. 2:102(100) ack 1`, /sequence number is expected to be 2, and is 1/, 2)
  fails(`${written}+0 > P. 1:101(100) ack 2`, /ack is expected to be 2, and is 1/, 2)
  fails(`${written}+0 > P. 1:102(101) ack 1`, /length is expected to be 101, and is 100/, 2)
  fails(`${written}+0 > P. 1:101(100) ack 1 win 7`, /win is expected to be 7, and is 65535/, 2)
  fails(`${written}+0 > PU. 1:101(100) ack 1 urg 5`, /flags is expected to be PU., and is P./, 2)
  fails(
    `${written}+0 > P. 1:101(100) ack 1 <nop,nop,TS val 1 ecr 1>`,
    /options is expected to be <nop,nop,TS>, and is <>/,
    2,
  )
  fails(`${written}+0 > [ect0] P. 1:101(100) ack 1`, /ECN is expected to be 2, and is 0/, 2)
  fails(`${written}+0 > [ttl 3] P. 1:101(100) ack 1`, /ttl is expected to be 3, and is 64/, 2)
  fails(`${written}+0 > udp (100)`, /nothing came|udp is expected/, 2)
  ends('fail', OPEN.replace('<mss 1460>', '<mss 1461>'), 5, /option is expected to be mss 1461, and is mss 1460/)
})

test('a packet must come when the script says, within the tolerance', () => {
  const delayed = '+0 < . 1:1001(1000) ack 1 win 32792\n'
  passes(`${OPEN}${delayed}+.042 > . 1:1(0) ack 1001`)
  fails(`${delayed}+.050 > . 1:1(0) ack 1001`, /the packet is expected at 0.15\d+, and has come at 0.14/, 2)
  fails(`${delayed}+0 > . 1:1(0) ack 1001`, /the packet is expected at/, 2)
  passes(`--tolerance_usecs=20000\n${OPEN}${delayed}+.050 > . 1:1(0) ack 1001`)
  passes(`${OPEN}${delayed}+.03~+.05 > . 1:1(0) ack 1001`)
  fails(`${delayed}+.05~+.07 > . 1:1(0) ack 1001`, /is expected at 0.15\d+ to 0.17\d+/, 2)
  passes(`${OPEN}${delayed}* > . 1:1(0) ack 1001`)
  fails('+.1 > . 1:1(0) ack 1', /nothing came until 2.2/)
})

test('the tolerance grows with the time since the last event', () => {
  const lost = '+0 write(4, ..., 1000) = 1000\n+0 > P. 1:1001(1000) ack 1\n'
  passes(`${OPEN}${lost}+.320 > P. 1:1001(1000) ack 1`)
  ends('fail', `--tolerance_percent=1\n${OPEN}${lost}+.320 > P. 1:1001(1000) ack 1`, 11, /the packet is expected at/)
})

test('one large segment of a script may be several on the wire, unless it is strict', () => {
  const large = '+0 write(4, ..., 3500) = 3500\n+0 > . 1:3001(3000) ack 1\n'
  passes(`${OPEN}${large}`)
  ends('fail', `--strict_segments\n${OPEN}${large}`, 10, /length is expected to be 3000, and is 1000/)
  fails('+0 write(4, ..., 2000) = 2000\n+0 > P. 1:2501(2500) ack 1', /length is expected to be 2500, and is 2000/, 2)
  fails('+0 write(4, ..., 1500) = 1500\n+0 > . 1:1501(1500) ack 1', /length is expected to be 1500, and is 1000/, 2)
})

test('segments that differ in more than their place are not one', () => {
  const text = `+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0
+0 write(4, ..., 500) = 500
+0 < P. 1:101(100) ack 1 win 32792
+0 write(4, ..., 500) = 500
+0 > P. 1:1001(1000) ack 1`
  fails(text, /length is expected to be 1000, and is 500/, 5)
})

test('a large inbound segment comes in as many as the link needs, at once', () => {
  passes(`${OPEN}+0 < P. 1:4001(4000) ack 1 win 32792\n+0 > . 1:1(0) ack 4001\n+0 read(4, ..., 5000) = 4000`)
})

test('sequence numbers are relative, also where they wrap', () => {
  const parts = Array.from(
    { length: 8 },
    (_, i) => `+0 < P. ${i * 1000 + 1}:${i * 1000 + 1001}(1000) ack 1 win 32792\n`,
  )
  passes(`${OPEN}${parts.join('')}+0 read(4, ..., 9000) = 8000\n+0 * `.replace('+0 * ', ''))
})

test('timestamps are compared where the script says how fast they run, and echoes are those that were seen', () => {
  const stamped = '+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1 <nop,nop,TS val 250 ecr 1100>\n'
  passes(STAMPED + stamped)
  const strict = `--tcp_ts_tick_usecs=1000\n${STAMPED}`
  ends('fail', strict + stamped, 10, /TS val is expected to be 250, and is 200/)
  passes(strict + stamped.replace('250', '202'))
  ends(
    'fail',
    strict + stamped.replace('250', '200').replace('1100', '1101'),
    10,
    /TS ecr is expected to be 1101, and is 1100/,
  )
  const unseen = '+0 < . 1:1(0) ack 1 win 32792 <nop,nop,TS val 1200 ecr 7>'
  fails(unseen, /ecr 7 is no val of an outbound segment before/, 1, STAMPED)
  passes(`--tcp_ts_ecr_scaled\n${STAMPED}${unseen}`)
})

test('what a call returns is compared, with its errno', () => {
  fails('+0 write(4, ..., 100) = 99', /write\(\) is expected to return 99, and has returned 100/)
  fails('+0 read(9, ..., 100) = -1 EAGAIN (no)', /is expected to return -1 EAGAIN, and has returned -1 EBADF/)
  fails('+0 accept(3, ..., ...) = 4', /accept\(\) has not returned until/)
  fails('+0 ioctl(4, SIOCINQ, [5]) = 0', /SIOCINQ is expected to give 5, and gives 0/)
  fails('+0 getsockopt(4, SOL_SOCKET, SO_TYPE, [2], [4]) = 0', /SO_TYPE is expected to be 2, and is 1/)
  fails(
    '+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN}], 1, 0) = 1',
    /revents of fd 4 is expected to be 0x1, and is 0x4/,
  )
  fails('+0 write(4) = 1', /write\(\) has 1 arguments: more are expected/)
  fails('+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 4', /the script has a descriptor 4 already/)
})

test('a call that blocks must return when the script says', () => {
  const data = '+.1 < P. 1:101(100) ack 1 win 32792\n'
  passes(`${OPEN}+0...0.1 read(4, ..., 1000) = 100\n${data}`)
  fails(
    `+0...0.2 read(4, ..., 1000) = 100\n${data}`,
    /read\(\) is expected to return at 0.300\d+, and has returned at 0.200/,
  )
  fails('+0...0.1 read(4, ..., 1000) = 100\n', /read\(\) has not returned until 2.2/)
  fails('+0 read(4, ..., 1000) = 100', /read\(\) has not returned until/)
})

test('an assertion is about the connection, now', () => {
  passes(`${OPEN}+0 %{ assert tcpi_snd_cwnd == 10 and tcpi_state == TCP_ESTABLISHED }%`)
  fails('+0 %{ assert tcpi_snd_cwnd == 11 }%', /assertion failed: tcpi_snd_cwnd == 11; tcpi_snd_cwnd is 10 \(at 0.1/)
  ends('fail', '0 %{ assert tcpi_state == 1 }%', 1, /there is no connection to ask/)
})

test('what is not supported skips the script with the reason, and never passes', () => {
  skips('+0 epoll_create(1) = 5', /epoll_create\(\) is not supported/)
  skips('+0 setsockopt(4, SOL_SOCKET, SO_ZEROCOPY, [1], 4) = 0', /setsockopt SO_ZEROCOPY is not supported/)
  skips('+0 getsockopt(4, SOL_TCP, TCP_INFO, ..., ...) = 0', /getsockopt TCP_INFO is not supported/)
  skips('+0 recv(4, ..., 10, MSG_PEEK) = 0', /flags 0x2 of send and recv are not supported/)
  skips('+0 send(4, ..., 10, MSG_FASTOPEN) = 0', /MSG_FASTOPEN is not supported/)
  skips('+0 toString(4) = 0', /toString\(\) is not supported/)
  skips('+0 %{ assert tcpi_busy_time == 0 }%', /tcpi_busy_time is not known here/)
  skips('+0 `reboot`', /the command is not supported: reboot/)
  skips('+0 `sysctl -q net.ipv4.tcp_ecn=1`', /a setting that changes while the script runs/)
  ends('skip', '0 socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP) = 3', 1, /sockets of AF_INET6 are not supported/)
})

test('with less compared, the window scale and PSH of data may be another, and nothing else', () => {
  const scaled = OPEN.replace('<mss 1000>', '<mss 1000,nop,wscale 7>').replace('<mss 1460>', '<mss 1460,nop,wscale 8>')
  const text = `${scaled}+0 write(4, ..., 100) = 100\n+0 > . 1:101(100) ack 1`
  ends('fail', text, 5, /option is expected to be wscale 8, and is wscale 7/)
  passes(text, { isLoose: true })
  ends('fail', text.replace('1:101', '2:102'), 9, /sequence number/, { isLoose: true })
})

test('the same script gives the same result, to the µs', () => {
  const text = `${OPEN}+0 write(4, ..., 9000) = 9000\n+0 > P. 1:9001(9000) ack 1\n+.3 > . 1:1001(1000) ack 1`
  assert.deepEqual(runScript(text), runScript(text))
})
