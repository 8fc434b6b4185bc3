// Capture files, pcap and pcapng, in either byte order. A file is read or refused with a sentence; what is read lies in the file, and is the
// same a second time.
import assert from 'node:assert/strict'
import { KernelError } from '../../../src/base/errno.ts'
import { LinkType } from '../../../src/device/pcap/format.ts'
import { type Packet, readCapture } from '../../../src/device/pcap/reader.ts'
import { createCaptureWriter } from '../../../src/device/pcap/writer.ts'
import { type Bytes, counting, join } from '../../../src/net/testing/frame.ts'
import type { Target } from '../target.ts'

/** The smallest record or block that holds a packet. */
const RECORD_BYTES_MIN = 16

export const pcapTarget: Target = {
  name: 'pcap',
  inputs: 1_000_000,
  seeds: () => [
    written('pcap'),
    written('pcapng'),
    swapped(written('pcap')),
    BIG_ENDIAN_PCAPNG,
    new Uint8Array(),
    written('pcapng').subarray(0, 60),
  ],
  open: () => ({ run: check, close: () => {} }),
}

function check(input: Bytes): void {
  const first = readAll(input)
  const second = readAll(input)
  assert.deepEqual(second, first, 'a file reads the same twice')
}

interface Read {
  readonly packets: readonly Packet[]
  readonly truncated: boolean
  readonly refused: string
}

function readAll(input: Bytes): Read {
  const packets: Packet[] = []
  let truncated = false
  try {
    const capture = readCapture(input, 'file')
    for (const packet of capture.packets()) {
      packets.push(packet)
      assert(packets.length <= input.length / RECORD_BYTES_MIN, 'no more packets than there is room for')
      const { data, originalLength, interfaceIndex, linkType, timeUs } = packet
      assert(data.buffer === input.buffer && data.byteOffset >= input.byteOffset, 'data lies in the file')
      assert(data.byteOffset + data.length <= input.byteOffset + input.length, 'data lies in the file')
      assert(originalLength >= data.length, 'no more is kept than there was')
      assert.equal(capture.linkTypes[interfaceIndex], linkType, 'each packet is of an interface of the capture')
      assert(!Number.isNaN(timeUs), 'a packet has a time')
    }
    truncated = capture.truncated
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    assert(['EINVAL', 'EPROTO'].includes(error.code), error.code)
    assert.match(error.message, /^file: expected .+ at offset \d+, found /)
    return { packets, truncated, refused: error.message }
  }
  return { packets, truncated, refused: '' }
}

function written(format: 'pcap' | 'pcapng'): Bytes {
  const chunks: Bytes[] = []
  const writer = createCaptureWriter({
    format,
    linkType: LinkType.ETHERNET,
    snapLength: 40,
    interfaceName: 'w0',
    write: (chunk) => chunks.push(Uint8Array.from(chunk)),
  })
  for (let i = 0; i < 4; i++) {
    const comment = i === 2 ? 'a comment' : undefined
    writer.record(counting(64), 0, 20 + 10 * i, 60, 1.7e15 + i, i % 2 === 0 ? 'in' : 'out', comment)
  }
  writer.close()
  return join(...chunks)
}

/** A classic file of the other byte order. */
function swapped(file: Bytes): Bytes {
  const bytes = Uint8Array.from(file)
  const reverse = (at: number, size: number) => bytes.subarray(at, at + size).reverse()
  for (const [at, size] of [
    [0, 4],
    [4, 2],
    [6, 2],
    [8, 4],
    [12, 4],
    [16, 4],
    [20, 4],
  ] as const)
    reverse(at, size)
  for (let at = 24; at + 16 <= bytes.length; ) {
    const length = new DataView(bytes.buffer).getUint32(at + 8, true)
    for (let field = 0; field < 16; field += 4) reverse(at + field, 4)
    at += 16 + length
  }
  return bytes
}

const word = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
const block = (type: number, ...body: readonly number[]) => {
  const length = word(12 + body.length)
  return Uint8Array.from([...word(type), ...length, ...body, ...length])
}
const ALL_ONES = [255, 255, 255, 255]
const BIG_ENDIAN_PCAPNG = join(
  block(0x0a0d0d0a, ...word(0x1a2b3c4d), 0, 1, 0, 0, ...ALL_ONES, ...ALL_ONES),
  // Times in 2^-10 s, an hour late.
  block(1, 0, 1, 0, 0, ...word(64), 0, 9, 0, 1, 0x8a, 0, 0, 0, 0, 14, 0, 8, ...word(0), ...word(3600), ...word(0)),
  block(
    6,
    ...word(0),
    ...word(0),
    ...word(1024),
    ...word(5),
    ...word(5),
    1,
    2,
    3,
    4,
    5,
    0,
    0,
    0,
    0,
    2,
    0,
    4,
    ...word(1),
  ),
  block(3, ...word(4), 1, 2, 3, 4),
  block(2, 0, 0, 0, 0, ...word(0), ...word(1), ...word(4), ...word(4), 1, 2, 3, 4),
  block(0x0bad, ...word(0)),
)
