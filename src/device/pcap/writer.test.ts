import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AssertionFailure } from '../../base/assert.ts'
import { KernelError } from '../../base/errno.ts'
import type { CaptureFormat, Direction } from './format.ts'
import { LinkType } from './format.ts'
import { type Packet, readCapture } from './reader.ts'
import { type CaptureOptions, type CaptureWriter, createCaptureWriter } from './writer.ts'

const options = { linkType: LinkType.ETHERNET, snapLength: 65535 }

/** What a writer hands on, copied at once because its buffer is reused. */
function written(given: Partial<CaptureOptions>, use: (writer: CaptureWriter) => void): Uint8Array {
  const chunks: Uint8Array[] = []
  const writer = createCaptureWriter({
    format: 'pcapng',
    ...options,
    ...given,
    write: (chunk) => chunks.push(chunk.slice()),
  })
  use(writer)
  writer.close()
  return new Uint8Array(Buffer.concat(chunks))
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** The one packet of a capture that `record` wrote. */
function only(file: Uint8Array): Packet {
  const packets = [...readCapture(file).packets()]
  assert.equal(packets.length, 1)
  return packets[0]!
}

test('a pcap file begins with the header of the specification and its records follow without padding', () => {
  const file = written({ format: 'pcap', snapLength: 0x1000 }, (writer) =>
    writer.record(Uint8Array.of(9, 0xaa, 0xbb, 0xcc, 9), 1, 3, 0x60, 1_000_002.75),
  )
  assert.equal(
    hex(file),
    'd4c3b2a1' +
      '0200' +
      '0400' +
      '00000000' +
      '00000000' +
      '00100000' +
      '01000000' + // header
      '01000000' +
      '02000000' +
      '03000000' +
      '60000000' +
      'aabbcc', // record
  )
})

test('a pcapng file has a section, an interface of nanoseconds, and a block with options for each packet', () => {
  const file = written({ linkType: LinkType.RAW, snapLength: 0x1000, interfaceName: 'tun0' }, (writer) => {
    writer.record(Uint8Array.of(0xaa, 0xbb, 0xcc), 0, 3, 0x60, 1_700_000_000_123_456, 'out', 'hello')
    writer.record(Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd), 0, 4, 4, 0)
  })
  assert.equal(
    hex(file),
    // Section header: byte order, version 1.0, length not told, application.
    '0a0d0d0a' +
      '30000000' +
      '4d3c2b1a' +
      '0100' +
      '0000' +
      'ffffffffffffffff' +
      '04000900' +
      '44616d73656c666c79000000' +
      '00000000' +
      '30000000' +
      // Interface: link type 101, snap length, resolution 9, name.
      '01000000' +
      '28000000' +
      '6500' +
      '0000' +
      '00100000' +
      '09000100' +
      '09000000' +
      '02000400' +
      '74756e30' +
      '00000000' +
      '28000000' +
      // 1700000000123456000 ns = 0x17979cfe3d85ca00; flags outbound, a comment.
      '06000000' +
      '3c000000' +
      '00000000' +
      'fe9c9717' +
      '00ca853d' +
      '03000000' +
      '60000000' +
      'aabbcc00' +
      '02000400' +
      '02000000' +
      '01000500' +
      '68656c6c6f000000' +
      '00000000' +
      '3c000000' +
      // No options, no padding.
      '06000000' +
      '24000000' +
      '00000000' +
      '00000000' +
      '00000000' +
      '04000000' +
      '04000000' +
      'aabbccdd' +
      '24000000',
  )
})

test('a packet longer than the snap length is cut and keeps its own length', () => {
  for (const format of ['pcap', 'pcapng'] as const) {
    const file = written({ format, snapLength: 5 }, (writer) => writer.record(new Uint8Array(9).fill(7), 0, 9, 11, 0))
    const packet = only(file)
    assert.deepEqual(packet.data, new Uint8Array(5).fill(7))
    assert.equal(packet.originalLength, 11)
  }
})

test('an empty capture is its header', () => {
  for (const format of ['pcap', 'pcapng'] as const) {
    const capture = readCapture(written({ format }, () => {}))
    assert.equal(capture.format, format)
    assert.deepEqual(capture.linkTypes, [LinkType.ETHERNET])
    assert.deepEqual([...capture.packets()], [])
    assert.equal(capture.truncated, false)
  }
})

const recordOf = fc.record({
  data: fc.uint8Array({ maxLength: 100 }),
  cut: fc.nat(5),
  // To the nanosecond below 2^32 s; a double of that size holds quarters of a microsecond.
  timeUs: fc.tuple(fc.nat(0xffffffff), fc.nat(3_999_999)).map(([seconds, quarters]) => seconds * 1e6 + quarters / 4),
  direction: fc.option(fc.constantFrom<Direction>('in', 'out'), { nil: undefined }),
  comment: fc.option(fc.string({ unit: 'grapheme', maxLength: 20 }), { nil: undefined }),
})

test('what is written is read again, whatever the sizes of buffer, memory and packets', () => {
  fc.assert(
    fc.property(
      fc.array(recordOf, { maxLength: 30 }),
      fc.constantFrom<CaptureFormat>('pcap', 'pcapng'),
      fc.integer({ min: 1, max: 6000 }),
      fc.nat(7),
      (records, format, bufferBytes, address) => {
        const memory = new Uint8Array(new SharedArrayBuffer(200))
        const file = written({ format, bufferBytes, snapLength: 80 }, (writer) => {
          for (const { data, cut, timeUs, direction, comment } of records) {
            memory.set(data, address)
            writer.record(memory, address, data.length, data.length + cut, timeUs, direction, comment)
          }
        })
        const capture = readCapture(file)
        const expected = records.map(({ data, cut, timeUs, direction, comment }) => ({
          timeUs: format === 'pcap' ? Math.floor(timeUs) : timeUs,
          linkType: LinkType.ETHERNET,
          interfaceIndex: 0,
          data: data.slice(0, 80),
          originalLength: data.length + cut,
          ...(format === 'pcapng' && direction !== undefined ? { direction } : {}),
          ...(format === 'pcapng' && comment !== undefined ? { comment } : {}),
        }))
        assert.deepEqual([...capture.packets()], expected)
        assert.equal(capture.truncated, false)
      },
    ),
    { seed: 4711, numRuns: 200 },
  )
})

test('each length is copied whole, by words or at once, from each alignment', () => {
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer)
  for (let i = 0; i < memory.length; i++) memory[i] = (i * 7 + (i >> 8)) & 0xff
  for (const length of [0, 1, 3, 4, 15, 16, 17, 31, 33, 60, 1514, 1535, 1536, 1537, 9000, 65000]) {
    for (const address of [0, 1, 2, 3, 64]) {
      const file = written({}, (writer) => writer.record(memory, address, length, length, 0))
      assert.deepEqual(only(file).data, memory.slice(address, address + length))
    }
  }
})

test('a time is exact to the nanosecond at either side of a full second and of 32 bits', () => {
  const times = [
    0,
    0.001,
    0.999,
    999_999.999,
    1e6,
    4_294_967.295,
    4_294_967.296,
    281_474_976.711,
    1e9 - 0.125,
    1_700_000_000_000_000 - 0.25,
    1_700_000_000_000_000,
    1_700_000_001_000_000 - 0.25,
    9_007_199_254_740_991,
  ]
  for (const timeUs of times) {
    const file = written({}, (writer) => writer.record(new Uint8Array(0), 0, 0, 0, timeUs))
    assert.equal(only(file).timeUs, timeUs)
  }
})

test('the last moment before a full second is still before it', () => {
  // The double before: one less in the last bit.
  const before = (time: number) => {
    const word = new BigUint64Array(Float64Array.of(time).buffer)
    word[0]!--
    return new Float64Array(word.buffer)[0]!
  }
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0xffffffff }), (second) => {
      const timeUs = before(second * 1e6)
      const file = written({ format: 'pcap' }, (writer) => writer.record(new Uint8Array(0), 0, 0, 0, timeUs))
      assert.equal(only(file).timeUs, second * 1e6 - 1)
    }),
    { seed: 4711, numRuns: 500, examples: [[2 ** 31], [2 ** 31 + 1], [1_700_000_000], [0xffffffff]] },
  )
})

test('a time that rounds up to a full second carries into it', () => {
  const file = written({}, (writer) => writer.record(new Uint8Array(0), 0, 0, 0, 999_999.9999))
  assert.equal(only(file).timeUs, 1e6)
})

test('a long comment is cut between two characters', () => {
  const file = written({}, (writer) => writer.record(new Uint8Array(0), 0, 0, 0, 0, undefined, `a${'€'.repeat(3000)}`))
  assert.equal(only(file).comment, `a${'€'.repeat(1365)}`)
})

test('padding is zero although the buffer was used before', () => {
  const chunks: Uint8Array[] = []
  const writer = createCaptureWriter({ format: 'pcapng', ...options, write: (chunk) => chunks.push(chunk.slice()) })
  writer.flush()
  writer.record(new Uint8Array(200).fill(0xff), 0, 200, 200, 0)
  writer.flush()
  writer.record(Uint8Array.of(1), 0, 1, 1, 0, undefined, '!')
  writer.flush()
  assert.equal(hex(chunks[2]!.subarray(28)), '01000000' + '01000100' + '21000000' + '00000000' + '30000000')
})

test('records are gathered and handed on when the buffer is full, flushed or closed', () => {
  const sizes: number[] = []
  const writer = createCaptureWriter({
    format: 'pcap',
    linkType: LinkType.RAW,
    snapLength: 84,
    bufferBytes: 10_000,
    write: (chunk) => sizes.push(chunk.length),
  })
  const packet = new Uint8Array(84)
  for (let i = 0; i < 100; i++) writer.record(packet, 0, 84, 84, i)
  assert.deepEqual(sizes, [24 + 99 * 100])
  writer.flush()
  writer.flush()
  assert.deepEqual(sizes.slice(1), [100])
  writer.record(packet, 0, 84, 84, 0)
  writer.close()
  writer.close()
  assert.deepEqual(sizes.slice(2), [100])
})

test('an error of whoever takes the bytes reaches the caller, and the writer goes on', () => {
  let fail = true
  const sizes: number[] = []
  const writer = createCaptureWriter({
    format: 'pcap',
    ...options,
    write(chunk) {
      if (fail) throw new Error('full')
      sizes.push(chunk.length)
    },
  })
  assert.throws(() => writer.flush(), { message: 'full' })
  fail = false
  writer.record(Uint8Array.of(1), 0, 1, 1, 0)
  writer.close()
  assert.deepEqual(sizes, [17])
})

test('options that cannot be are EINVAL and a sentence', () => {
  for (const bad of [
    { snapLength: 0 },
    { snapLength: 262_145 },
    { snapLength: Number.NaN },
    { linkType: -1 },
    { linkType: 65_536 },
    { bufferBytes: 0.5 },
  ]) {
    assert.throws(
      () => written(bad, () => {}),
      (error) =>
        error instanceof KernelError && error.code === 'EINVAL' && /must be a whole number/.test(error.message),
    )
  }
})

test('a packet outside its memory, before 1970 or after the close is a bug of the caller', () => {
  const bytes = new Uint8Array(10)
  for (const bug of [
    (writer: CaptureWriter) => writer.record(bytes, 5, 6, 6, 0),
    (writer: CaptureWriter) => writer.record(bytes, -1, 1, 1, 0),
    (writer: CaptureWriter) => writer.record(bytes, 0, 10, 9, 0),
    (writer: CaptureWriter) => writer.record(bytes, 0, 1, 1, -1),
    (writer: CaptureWriter) => writer.record(bytes, 0, 1, 1, Number.NaN),
    (writer: CaptureWriter) => {
      writer.close()
      writer.record(bytes, 0, 1, 1, 0)
    },
  ]) {
    assert.throws(() => written({}, bug), AssertionFailure)
  }
  const late = (writer: CaptureWriter) => writer.record(bytes, 0, 1, 1, 2 ** 32 * 1e6)
  assert.throws(() => written({ format: 'pcap' }, late), AssertionFailure)
})
