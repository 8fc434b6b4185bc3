// Whether the checks of headers look at nothing but what came: with other bytes behind the frame, as a buffer that is used again has them,
// each has to say the same. And what passes has the lengths that whoever comes behind relies on.
import assert from 'node:assert/strict'
import { checkArpHeader } from '../../../src/net/ether/arp-header.ts'
import { checkEtherHeader } from '../../../src/net/ether/header.ts'
import { checkIcmpHeader } from '../../../src/net/icmp/header.ts'
import { checkIpHeader, ipHeaderBytes, walkOptions } from '../../../src/net/ip/header.ts'
import { checkTcpHeader } from '../../../src/net/tcp/header.ts'
import { checkUdpHeader } from '../../../src/net/udp/header.ts'
import type { Bytes } from '../mutation.ts'

const BEFORE = 16
const BEHIND = 128
const ETHER_BYTES = 14

export function assertBlind(frame: Bytes): void {
  assertKept(frame)
  const [zeros, ones, count] = [0, 0xff, 0x45].map((filler) => verdicts(frame, filler))
  assert.deepEqual(zeros, ones, 'a check looks at what is behind the frame')
  assert.deepEqual(zeros, count, 'a check looks at what is behind the frame')
}

/** What each check promises of a header that it passes. */
function assertKept(frame: Bytes): void {
  const packet = frame.subarray(ETHER_BYTES)
  const { length } = packet
  const word = (at: number) => packet[at]! * 256 + packet[at + 1]!
  if (checkIpHeader(packet, 0, length) !== 0) return
  const header = ipHeaderBytes(packet, 0)
  const total = word(2)
  assert(header >= 20 && header <= total && total <= length, 'a header, and what it says, lies in the packet')
  const rest = total - header
  if (checkUdpHeader(packet, header, rest) === 0) {
    assert(word(header + 4) >= 8 && word(header + 4) <= rest, 'a datagram lies in its packet')
  }
  if (checkTcpHeader(packet, header, rest) === 0) {
    const bytes = (packet[header + 12]! >> 4) * 4
    assert(bytes >= 20 && bytes <= rest, 'the header of a segment lies in it')
  }
  if (checkIcmpHeader(packet, header, rest) === 0) assert(rest >= 8, 'a message has a header')
}

/** What each check says of the frame's bytes, wherever its header would be. */
function verdicts(frame: Bytes, filler: number): readonly number[] {
  const u8 = new Uint8Array(BEFORE + frame.length + BEHIND).fill(filler)
  u8.set(frame, BEFORE)
  const packet = BEFORE + ETHER_BYTES
  const length = Math.max(frame.length - ETHER_BYTES, 0)
  const found: number[] = [checkEtherHeader(u8, BEFORE, frame.length)]
  if (frame.length < ETHER_BYTES) return found
  found.push(checkArpHeader(u8, packet, length), checkIpHeader(u8, packet, length))
  if (length < 20) return found
  const headerBytes = Math.min(Math.max(ipHeaderBytes(u8, packet), 20), length)
  found.push(walkOptions(u8, packet, headerBytes))
  for (const check of [checkUdpHeader, checkTcpHeader, checkIcmpHeader]) {
    found.push(check(u8, packet + headerBytes, length - headerBytes))
  }
  return found
}
