import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { segmentOptionBytes, TcpOptions, writeSegment, writeSyn } from './options.ts'

const seed = 7323
const HEADER = 20
/** An odd address, so that nothing is aligned. */
const AT = 101
const u8 = new Uint8Array(512)
const view = new DataView(u8.buffer)
const options = new TcpOptions()

const bytesOf = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')

/** Parses a header with these options in it; what lies behind it in memory is a list of options, too. */
function parse(list: Uint8Array): boolean {
  u8.fill(0)
  u8.set(list, AT + HEADER)
  const end = AT + HEADER + list.length
  u8.set(bytesOf('0204ffff 03030e 0402 080a7777777788888888 050a1111111122222222 0204ffff0204ffff'), end)
  return options.parse(view, u8, AT, HEADER + list.length)
}

const NOTHING = {
  mss: 0,
  windowScale: -1,
  sackPermitted: false,
  hasTimestamp: false,
  timestampValue: 0,
  timestampEcho: 0,
  sack: [] as number[],
}

/** What was found. */
const found = () => {
  const { mss, windowScale, sackPermitted, hasTimestamp, timestampValue, timestampEcho, sackCount, sack } = options
  return {
    mss,
    windowScale,
    sackPermitted,
    hasTimestamp,
    timestampValue,
    timestampEcho,
    sack: [...sack.subarray(0, 2 * sackCount)],
  }
}

function expectOptions(hex: string, expected: Partial<typeof NOTHING>, isWhole = true): void {
  assert.equal(parse(bytesOf(hex)), isWhole, hex)
  assert.deepEqual(found(), { ...NOTHING, ...expected }, hex)
}

describe('tcp options that come', () => {
  test('a header without options says nothing', () => {
    expectOptions('', {})
  })

  test('the options of a SYN of Linux (@rfc 9293 MUST-4) (@rfc 9293 MUST-14)', () => {
    expectOptions('020405b4 0402 080a 00000001 00000000 01 030307', {
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
      hasTimestamp: true,
      timestampValue: 1,
    })
  })

  test('timestamps alone, as in nearly every segment (@rfc 9293 MUST-5)', () => {
    expectOptions('0101080a 80000000 ffffffff', {
      hasTimestamp: true,
      timestampValue: -(2 ** 31),
      timestampEcho: -1,
    })
  })

  test('timestamps and three SACK blocks in a segment (@rfc 9293 MUST-5)', () => {
    expectOptions('0101 080a 00000005 00000006 0101 051a 00000001 00000002 00000003 00000004 fffffff0 00000010', {
      hasTimestamp: true,
      timestampValue: 5,
      timestampEcho: 6,
      sack: [1, 2, 3, 4, -16, 16],
    })
  })

  test('four SACK blocks', () => {
    const list = '01010522 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008'
    expectOptions(list, { sack: [1, 2, 3, 4, 5, 6, 7, 8] })
  })

  test('an option may begin at any byte (@rfc 9293 MUST-64)', () => {
    for (const padding of ['', '01', '0101', '010101'])
      expectOptions(`${padding} 020405b4 ${padding} 030302 ${padding} 080a 01020304 05060708`, {
        mss: 1460,
        windowScale: 2,
        hasTimestamp: true,
        timestampValue: 0x01020304,
        timestampEcho: 0x05060708,
      })
  })

  test('options that nobody knows are passed over by their length (@rfc 9293 MUST-6)', () => {
    expectOptions('1e04abcd fe02 020405b4 fd0501 0203 0402', { mss: 1460, sackPermitted: true })
  })

  test('nothing behind the end of the list counts', () => {
    expectOptions('020405b4 00 030307 0402', { mss: 1460 })
  })

  test('an illegal length ends the list, and what stood before it counts (@rfc 9293 MUST-7)', () => {
    expectOptions('020405b4 0300 07 0402', { mss: 1460 }, false)
    expectOptions('020405b4 0301 07 0402', { mss: 1460 }, false)
    expectOptions('020405b4 0305 07 04', { mss: 1460 }, false)
    expectOptions('020405b4 010101 03', { mss: 1460 }, false)
    expectOptions('080a 00000001', {}, false)
    expectOptions('050a 00000001 000000', {}, false)
    expectOptions('fe00', {}, false)
  })

  test('a known option of a length that is not its own is passed over', () => {
    expectOptions('0203ff 0402', { sackPermitted: true })
    expectOptions('020505b401 0402', { sackPermitted: true })
    expectOptions('0302 030407ff 0402', { sackPermitted: true })
    expectOptions('040301 020405b4', { mss: 1460 })
    expectOptions('08090000000100000002 0402'.replace('02 0402', '0402'), { sackPermitted: true })
    expectOptions('050a 00000001 00000002 0502', { sack: [1, 2] })
    expectOptions('0502 050b 000000010000000209 0402', { sackPermitted: true })
  })

  test('a shift above 14 is taken for 14 (@rfc 7323 2.3)', () => {
    expectOptions('03030e', { windowScale: 14 })
    expectOptions('03030f', { windowScale: 14 })
    expectOptions('0303ff', { windowScale: 14 })
    expectOptions('030300', { windowScale: 0 })
  })

  test('each kind with each length, and nothing behind the header is read', () => {
    for (let room = 1; room <= 40; room++) {
      const list = new Uint8Array(room)
      for (let kind = 0; kind < 256; kind++)
        for (let length = 0; length < 256; length++) {
          list.fill(1)
          list[0] = kind
          if (room > 1) list[1] = length
          // All that a list of this length may say: the loop ends, and what lies behind would be seen.
          const whole = parseQuickly(list)
          const { mss, timestampValue, timestampEcho, sackCount, windowScale } = options
          assert(mss === 0 || mss === 0x0101, 'the MSS lies in the header')
          assert(windowScale === -1 || windowScale === 1)
          assert(timestampValue === 0 || timestampValue === 0x01010101)
          assert(timestampEcho === 0 || timestampEcho === 0x01010101)
          assert(sackCount * 8 + 2 <= room || sackCount === 0)
          for (let i = 0; i < 2 * sackCount; i++) assert.equal(options.sack[i], 0x01010101)
          // After kinds 0 and 1 the second byte is no length.
          const isWhole = kind < 2 ? whole : room > 1 && length >= 2 && length <= room
          assert.equal(whole, isWhole, `kind ${kind}, length ${length}, room ${room}`)
        }
    }
  })

  test('whatever comes, the answer is that of a plain reading of the RFC, and a copy without what lies behind', () => {
    const option = fc.oneof(
      fc.constantFrom('01', '00', '020405b4', '030307', '0402', '080a0102030405060708', '050a0000000100000002'),
      fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    )
    fc.assert(
      fc.property(fc.array(option, { maxLength: 14 }), (parts) => {
        const list = bytesOf(parts.join('')).subarray(0, 40)
        const whole = parse(list)
        const first = found()
        const own = new Uint8Array([...new Uint8Array(HEADER), ...list])
        assert.equal(options.parse(new DataView(own.buffer), own, 0, own.length), whole)
        assert.deepEqual(found(), first)
        assert.deepEqual({ ...first, whole }, read(list))
      }),
      { seed, numRuns: 3000 },
    )
  })

  /** `parse`, without writing all of the memory. */
  function parseQuickly(list: Uint8Array): boolean {
    u8.set(list, AT + HEADER)
    u8.fill(0xee, AT + HEADER + list.length, AT + HEADER + list.length + 48)
    return options.parse(view, u8, AT, HEADER + list.length)
  }

  /** RFC 9293 3.2, slowly. */
  function read(list: Uint8Array): typeof NOTHING & { whole: boolean } {
    const result = { ...NOTHING, whole: true }
    let rest = [...list]
    const word = (bytes: number[], at: number) => bytes.slice(at, at + 4).reduce((n, byte) => (n << 8) | byte, 0)
    while (rest.length > 0 && rest[0] !== 0) {
      if (rest[0] === 1) {
        rest = rest.slice(1)
        continue
      }
      const length = rest[1] ?? 0
      if (length < 2 || length > rest.length) return { ...result, whole: false }
      const body = rest.slice(2, length)
      const kind = `${rest[0]}/${length}`
      if (kind === '2/4') result.mss = body[0]! * 256 + body[1]!
      if (kind === '3/3') result.windowScale = Math.min(14, body[0]!)
      if (kind === '4/2') result.sackPermitted = true
      if (kind === '8/10') {
        result.hasTimestamp = true
        result.timestampValue = word(body, 0)
        result.timestampEcho = word(body, 4)
      }
      if (['5/10', '5/18', '5/26', '5/34'].includes(kind))
        result.sack = Array.from({ length: body.length / 4 }, (_, i) => word(body, 4 * i))
      rest = rest.slice(length)
    }
    return result
  }
})

describe('tcp options that go', () => {
  const written = (bytes: number) => Buffer.from(u8.subarray(AT, AT + bytes)).toString('hex')

  test('a SYN with everything is 20 bytes (@rfc 9293 MUST-14)', () => {
    assert.equal(writeSyn(view, AT, 1460, 7, true, true, 0x01020304, -1), 20)
    assert.equal(written(20), '020405b40402080a01020304ffffffff01030307')
  })

  test('each choice of options is a list of whole words that says what was asked for (@rfc 9293 MUST-68) (@rfc 9293 MUST-69)', () => {
    for (const mss of [1, 536, 1460, 65535])
      for (const windowScale of [-1, 0, 14])
        for (const sackPermitted of [false, true])
          for (const hasTimestamp of [false, true]) {
            u8.fill(0xee)
            const bytes = writeSyn(view, AT + HEADER, mss, windowScale, sackPermitted, hasTimestamp, -5, 6)
            assert.equal(bytes % 4, 0)
            assert(u8.subarray(AT + HEADER + bytes).every((byte) => byte === 0xee))
            assert.equal(options.parse(view, u8, AT, HEADER + bytes), true)
            const timestamps = hasTimestamp ? { timestampValue: -5, timestampEcho: 6 } : {}
            assert.deepEqual(found(), { ...NOTHING, mss, windowScale, sackPermitted, hasTimestamp, ...timestamps })
          }
  })

  test('a segment has timestamps and as many SACK blocks as fit: three, or four without timestamps', () => {
    const blocks = Int32Array.of(1, 2, 3, 4, -5, -4, 2 ** 31 - 1, -(2 ** 31))
    for (const hasTimestamp of [false, true])
      for (let count = 0; count <= 4; count++) {
        u8.fill(0xee)
        const fits = Math.min(count, hasTimestamp ? 3 : 4)
        const bytes = writeSegment(view, AT + HEADER, hasTimestamp, 7, -8, blocks, count)
        assert.equal(bytes, segmentOptionBytes(hasTimestamp, count))
        assert.equal(bytes, (hasTimestamp ? 12 : 0) + (fits > 0 ? 4 + 8 * fits : 0))
        assert(bytes <= 40 && bytes % 4 === 0)
        assert(u8.subarray(AT + HEADER + bytes).every((byte) => byte === 0xee))
        assert.equal(options.parse(view, u8, AT, HEADER + bytes), true)
        const timestamps = hasTimestamp ? { timestampValue: 7, timestampEcho: -8 } : {}
        assert.deepEqual(found(), { ...NOTHING, hasTimestamp, ...timestamps, sack: [...blocks.subarray(0, 2 * fits)] })
      }
  })

  test('a segment with nothing to say has no options', () => {
    assert.equal(writeSegment(view, AT, false, 1, 2, new Int32Array(0), 0), 0)
    assert.equal(segmentOptionBytes(false, 0), 0)
  })

  test('a shift that windows cannot have is a bug', () => {
    assert.throws(() => writeSyn(view, AT, 1460, 15, false, false, 0, 0), /window scale/)
  })
})
