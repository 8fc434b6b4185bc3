import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Bytes, counting, ether, icmp, tcp, tcpOption, udp } from './frame.ts'
import { repair } from './repair.ts'

const PACKETS: readonly (readonly [string, Bytes])[] = [
  ['TCP with options', tcp({ tcpOptions: tcpOption.timestamps(1, 2), seq: 7 }, counting(33))],
  ['UDP', udp({ targetPort: 9 }, counting(20))],
  ['ICMP', icmp({ type: 8, rest: 3 }, counting(11))],
  ['IP options', icmp({ type: 8, options: [7, 7, 4, 0, 0, 0, 0, 0] }, counting(5))],
]

for (const [name, packet] of PACKETS) {
  test(`${name}: lengths and checksums come back as they were`, () => {
    const whole = ether({}, packet)
    const frame = Uint8Array.from(whole)
    const segment = 14 + (packet[0]! & 15) * 4
    for (const at of [16, 17, 24, 25]) frame[at] = 0xa5
    const checksumAt = { 1: 2, 6: 16, 17: 6 }[packet[9]!]!
    frame[segment + checksumAt]! ^= 0xff
    if (packet[9] === 17) frame[segment + 4]! ^= 0xff
    repair(frame)
    assert.deepEqual(frame, whole)
  })
}

test('what has no header that can be found stays as it is', () => {
  for (const bytes of [counting(0), counting(13), counting(40), ether({ type: 0x0800 }, counting(30, 0x40))]) {
    const frame = Uint8Array.from(bytes)
    repair(frame)
    assert.deepEqual(frame, bytes)
  }
})

test('of a fragment only the header is made right', () => {
  const whole = ether({}, udp({ targetPort: 9, more: true }, counting(20)))
  const frame = Uint8Array.from(whole)
  frame[24]! ^= 1
  frame[14 + 20 + 6]! ^= 1
  repair(frame)
  assert.equal(frame[24], whole[24])
  assert.notEqual(frame[14 + 20 + 6], whole[14 + 20 + 6])
})
