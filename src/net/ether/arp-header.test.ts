import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ArpDrop, ArpHeader, checkArpHeader } from './arp-header.ts'

/** A request from 10.77.0.2 for 10.77.0.1, as it comes in a padded frame. */
function request(): Uint8Array {
  const u8 = new Uint8Array(46)
  u8.set([0, 1, 0x08, 0x00, 6, 4, 0, 1])
  u8.set([0x02, 0, 0x0a, 0x4d, 0, 0x02, 10, 77, 0, 2], 8)
  u8.set([0, 0, 0, 0, 0, 0, 10, 77, 0, 1], 18)
  return u8
}

function checkWith(at: number, ...bytes: number[]): ArpDrop {
  const u8 = request()
  u8.set(bytes, at)
  return checkArpHeader(u8, 0, u8.length)
}

test('the fields lie where RFC 826 lists them', () => {
  assert.deepEqual(ArpHeader.offset, {
    hardwareType: 0,
    protocolType: 2,
    hardwareLength: 4,
    protocolLength: 5,
    operation: 6,
    senderHardware: 8,
    senderProtocol: 14,
    targetHardware: 18,
    targetProtocol: 24,
  })
})

test('a request and a reply are good, with padding and without', () => {
  assert.equal(checkArpHeader(request(), 0, 46), ArpDrop.none)
  assert.equal(checkArpHeader(request(), 0, 28), ArpDrop.none)
  assert.equal(checkWith(6, 0, 2), ArpDrop.none)
})

test('a truncated packet is dropped at every length', () => {
  for (let length = 0; length < 28; length++) assert.equal(checkArpHeader(request(), 0, length), ArpDrop.short)
})

test('other types, lengths and operations are dropped', () => {
  assert.equal(checkWith(0, 0, 6), ArpDrop.type)
  assert.equal(checkWith(2, 0x86, 0xdd), ArpDrop.type)
  for (const length of [0, 5, 7, 16, 255]) assert.equal(checkWith(4, length), ArpDrop.length)
  for (const length of [0, 3, 5, 16, 255]) assert.equal(checkWith(5, length), ArpDrop.length)
  // 3 and 4 are reverse ARP, which CVE-2019-12262 took for ARP replies.
  for (const operation of [0, 3, 4, 8, 9, 255]) assert.equal(checkWith(6, 0, operation), ArpDrop.operation)
  assert.equal(checkWith(6, 1, 1), ArpDrop.operation)
})

test('a sender whose hardware address is a group is dropped', () => {
  assert.equal(checkWith(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ArpDrop.sender)
  assert.equal(checkWith(8, 0x01, 0x00, 0x5e), ArpDrop.sender)
})
