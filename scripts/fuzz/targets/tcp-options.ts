// The options of a TCP header, held against a reader that is written from RFC 9293 3.1, RFC 7323 and RFC 2018 for this. An input is up to
// 40 bytes of options; longer ones are cut, others filled up.
import assert from 'node:assert/strict'
import { TcpOptions } from '../../../src/net/tcp/options.ts'
import { join, tcpOption } from '../../../src/net/testing/frame.ts'
import type { Bytes } from '../mutation.ts'
import type { Target } from '../target.ts'

const HEADER = 20
const OPTIONS_MAX = 40
const BEFORE = 4

export const tcpOptionsTarget: Target = {
  name: 'tcp-options',
  inputs: 1_000_000,
  seeds: () => [
    new Uint8Array(),
    join(tcpOption.mss(1460), tcpOption.sackPermitted, tcpOption.timestamps(1, 2), [1], tcpOption.windowScale(7)),
    join([1, 1], tcpOption.timestamps(0xffffffff, 0x80000000)),
    join([1, 1], tcpOption.sack([1, 2], [3, 4], [5, 6], [7, 8])),
    join([1, 1], tcpOption.timestamps(1, 2), [1, 1], tcpOption.sack([1, 2], [3, 4], [5, 6])),
    join([254, 4, 1, 2], tcpOption.mss(0), [0, 7, 7, 7]),
  ],
  open: () => ({ run: check, close: () => {} }),
}

function check(input: Bytes): void {
  const list = input.subarray(0, OPTIONS_MAX)
  const padded = Uint8Array.from([...list, ...new Array<number>((4 - (list.length % 4)) % 4).fill(1)])
  const expected = JSON.stringify(reference(padded))
  for (const filler of [0, 2, 0xff]) {
    const u8 = new Uint8Array(BEFORE + HEADER + padded.length + 64).fill(filler)
    u8.set(padded, BEFORE + HEADER)
    const options = new TcpOptions()
    const isWhole = options.parse(new DataView(u8.buffer), u8, BEFORE, HEADER + padded.length)
    const { mss, windowScale, sackPermitted, hasTimestamp, timestampValue, timestampEcho, sackCount, sack } = options
    const blocks = [...sack.subarray(0, 2 * sackCount)]
    const found = { isWhole, mss, windowScale, sackPermitted, hasTimestamp, timestampValue, timestampEcho, blocks }
    assert.equal(JSON.stringify(found), expected, `with ${filler} behind the header`)
  }
}

interface Read {
  isWhole: boolean
  mss: number
  windowScale: number
  sackPermitted: boolean
  hasTimestamp: boolean
  timestampValue: number
  timestampEcho: number
  blocks: number[]
}

function reference(list: Bytes): Read {
  const read: Read = {
    isWhole: true,
    mss: 0,
    windowScale: -1,
    sackPermitted: false,
    hasTimestamp: false,
    timestampValue: 0,
    timestampEcho: 0,
    blocks: [],
  }
  let rest: readonly number[] = [...list]
  while (rest.length > 0 && rest[0] !== 0) {
    if (rest[0] === 1) {
      rest = rest.slice(1)
      continue
    }
    const [kind, length = 0] = rest
    if (length < 2 || length > rest.length) return { ...read, isWhole: false }
    option(read, kind!, rest.slice(2, length))
    rest = rest.slice(length)
  }
  return read
}

function option(read: Read, kind: number, value: readonly number[]): void {
  const word = (at: number) => (value[at]! << 24) | (value[at + 1]! << 16) | (value[at + 2]! << 8) | value[at + 3]!
  if (kind === 2 && value.length === 2) read.mss = value[0]! * 256 + value[1]!
  if (kind === 3 && value.length === 1) read.windowScale = Math.min(value[0]!, 14)
  if (kind === 4 && value.length === 0) read.sackPermitted = true
  if (kind === 5 && value.length > 0 && value.length % 8 === 0) {
    read.blocks = Array.from({ length: value.length / 4 }, (_, i) => word(4 * i))
  }
  if (kind === 8 && value.length === 8) {
    Object.assign(read, { hasTimestamp: true, timestampValue: word(0), timestampEcho: word(4) })
  }
}
