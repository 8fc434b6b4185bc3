import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KernelError } from '../../base/errno.ts'
import { type Capture, type Packet, readCapture } from './reader.ts'
import { createCaptureWriter } from './writer.ts'

/** Numbers of a file in its byte order: `[bytes, value]` pairs, or bytes as they are. */
type Part = readonly [1 | 2 | 4 | 8, number | bigint] | Uint8Array

function join(little: boolean, parts: readonly Part[]): Uint8Array {
  const all = parts.map((part) => {
    if (part instanceof Uint8Array) return part
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(part[1])))
    const value = bytes.subarray(8 - part[0])
    return little ? value.reverse() : value
  })
  return new Uint8Array(Buffer.concat(all))
}

function pad(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]))
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

/** A pcapng block with its lengths. */
function block(little: boolean, type: number, ...body: Part[]): Uint8Array {
  const inside = join(little, body)
  const length = inside.length + 12
  return join(little, [[4, type], [4, length], inside, [4, length]])
}

function option(little: boolean, code: number, value: Uint8Array): Uint8Array {
  return join(little, [[2, code], [2, value.length], pad(value)])
}

function section(little: boolean, ...more: Part[]): Uint8Array {
  return block(little, 0x0a0d0d0a, [4, 0x1a2b3c4d], [2, 1], [2, 0], [8, -1], ...more)
}

function interfaceBlock(little: boolean, linkType: number, snapLength = 0, ...more: Part[]): Uint8Array {
  return block(little, 1, [2, linkType], [2, 0], [4, snapLength], ...more)
}

function enhanced(
  little: boolean,
  index: number,
  units: bigint,
  data: Uint8Array,
  originalLength = data.length,
  ...more: Part[]
): Uint8Array {
  const time: Part[] = [
    [4, units >> 32n],
    [4, units & 0xffffffffn],
  ]
  return block(little, 6, [4, index], ...time, [4, data.length], [4, originalLength], pad(data), ...more)
}

function file(...blocks: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(blocks))
}

function pcap(little: boolean, magic: number, ...records: (readonly [number, number, Uint8Array, number])[]) {
  const header = join(little, [
    [4, magic],
    [2, 2],
    [2, 4],
    [4, 0],
    [4, 0],
    [4, 0xffffffff],
    [4, 0x10000065],
  ])
  const all = records.map(([seconds, fraction, data, length]) =>
    join(little, [[4, seconds], [4, fraction], [4, data.length], [4, length], data]),
  )
  return file(header, ...all)
}

const abc = Uint8Array.of(1, 2, 3)
const abcd = Uint8Array.of(1, 2, 3, 4)

/** Reads to the end or to the error, which must be a KernelError with an offset. */
function read(bytes: Uint8Array): { capture?: Capture; packets: Packet[]; error?: KernelError } {
  const packets: Packet[] = []
  let capture: Capture | undefined
  try {
    capture = readCapture(bytes)
    for (const packet of capture.packets()) packets.push(packet)
    return { capture, packets }
  } catch (error) {
    assert(error instanceof KernelError, String(error))
    assert(error.code === 'EPROTO' || error.code === 'EINVAL', error.code)
    assert.match(error.message, /^The capture: expected .* at offset \d+, found .*$/)
    return capture === undefined ? { packets, error } : { capture, packets, error }
  }
}

test('classic pcap is read in both byte orders and both resolutions', () => {
  for (const little of [true, false]) {
    for (const [magic, fraction] of [
      [0xa1b2c3d4, 123_456],
      [0xa1b23c4d, 123_456_000],
    ] as const) {
      const bytes = pcap(little, magic, [1_700_000_000, fraction, abc, 60], [4_000_000_000, 0, abcd, 4])
      const { capture, packets } = read(bytes)
      assert.equal(capture?.format, 'pcap')
      assert.deepEqual(capture?.linkTypes, [101])
      assert.equal(capture?.truncated, false)
      assert.deepEqual(packets, [
        { timeUs: 1_700_000_000_123_456, linkType: 101, interfaceIndex: 0, data: abc, originalLength: 60 },
        { timeUs: 4_000_000_000_000_000, linkType: 101, interfaceIndex: 0, data: abcd, originalLength: 4 },
      ])
    }
  }
})

test('records of both formats survive in both byte orders', () => {
  const packetOf = fc.tuple(fc.nat(0xffffffff), fc.nat(999_999), fc.uint8Array({ maxLength: 70 }), fc.nat(70))
  fc.assert(
    fc.property(fc.boolean(), fc.array(packetOf, { maxLength: 20 }), (little, given) => {
      const expected = given.map(([seconds, fraction, data, more]) => ({
        timeUs: seconds * 1e6 + fraction,
        linkType: 101,
        interfaceIndex: 0,
        data,
        originalLength: data.length + more,
      }))
      const records = given.map(
        ([seconds, fraction, data, more]) => [seconds, fraction, data, data.length + more] as const,
      )
      assert.deepEqual(read(pcap(little, 0xa1b2c3d4, ...records)).packets, expected)
      const blocks = given.map(([seconds, fraction, data, more]) =>
        enhanced(little, 0, BigInt(seconds) * 1_000_000n + BigInt(fraction), data, data.length + more),
      )
      const { packets } = read(file(section(little), interfaceBlock(little, 101), ...blocks))
      assert.deepEqual(packets, expected)
    }),
    { seed: 4711, numRuns: 200 },
  )
})

test('options give a packet its comments and its direction, in both byte orders', () => {
  for (const little of [true, false]) {
    const flags = (value: number) => option(little, 2, join(little, [[4, value]]))
    const first = [
      option(little, 1, text('one €')),
      flags(0xff000001),
      option(little, 1, text('two')),
      new Uint8Array(4),
    ]
    const { packets } = read(
      file(
        section(little, option(little, 4, text('app')), new Uint8Array(4)),
        interfaceBlock(little, 1, 0, option(little, 2, text('eth0'))),
        enhanced(little, 0, 5n, abc, 3, ...first),
        enhanced(little, 0, 6n, abc, 3, flags(2)),
        enhanced(little, 0, 7n, abc, 3, flags(3), option(little, 2988, text('custom'))),
      ),
    )
    assert.deepEqual(
      packets.map(({ comment, direction }) => [comment, direction]),
      [
        ['one €\ntwo', 'in'],
        [undefined, 'out'],
        [undefined, undefined],
      ],
    )
  }
})

test('nothing after the end of options is looked at', () => {
  const after = [new Uint8Array(4), Uint8Array.of(1, 0, 0xff, 0xff)]
  const { packets } = read(file(section(true), interfaceBlock(true, 1), enhanced(true, 0, 5n, abc, 3, ...after)))
  assert.equal(packets[0]?.comment, undefined)
  assert.equal(packets.length, 1)
})

test('each resolution and time offset of an interface is obeyed', () => {
  const resolutions: [number, bigint, number][] = [
    [0, 12n, 12e6],
    [3, 12_345n, 12_345e3],
    [6, 1_700_000_000_123_456n, 1_700_000_000_123_456],
    [9, 1_700_000_000_123_456_750n, 1_700_000_000_123_457 - 0.25],
    [12, 1_500_000_000_250_000n, 1_500_000_000.25],
    [127, 5n, 5e-121],
    [0x80, 12n, 12e6],
    [0x80 | 10, 1536n, 1.5e6],
    [0x80 | 32, 3n << 31n, 1.5e6],
  ]
  for (const little of [true, false]) {
    for (const [resolution, units, timeUs] of resolutions) {
      const more = [option(little, 9, Uint8Array.of(resolution)), option(little, 14, join(little, [[8, -2]]))]
      const described = interfaceBlock(little, 1, 0, ...more)
      const { packets } = read(file(section(little), described, enhanced(little, 0, units, abc)))
      assert.equal(packets[0]?.timeUs, timeUs - 2e6)
    }
  }
})

test('sections of either byte order follow each other, each with interfaces of its own', () => {
  const bytes = file(
    section(true),
    interfaceBlock(true, 1),
    interfaceBlock(true, 101),
    enhanced(true, 1, 1n, abc),
    section(false),
    interfaceBlock(false, 113),
    enhanced(false, 0, 2n, abcd),
    interfaceBlock(false, 228),
    enhanced(false, 1, 3n, abc),
  )
  const { capture, packets } = read(bytes)
  assert.deepEqual(capture?.linkTypes, [1, 101, 113, 228])
  assert.deepEqual(
    packets.map(({ linkType, interfaceIndex, timeUs }) => [linkType, interfaceIndex, timeUs]),
    [
      [101, 1, 1],
      [113, 2, 2],
      [228, 3, 3],
    ],
  )
})

test('simple and legacy packets are read, and other blocks are skipped', () => {
  for (const little of [true, false]) {
    const legacy = block(
      little,
      2,
      [2, 1],
      [2, 0xffff],
      [4, 0],
      [4, 7],
      [4, 3],
      [4, 9],
      pad(abc),
      option(little, 2, join(little, [[4, 1]])),
      [4, 0],
    )
    const bytes = file(
      section(little),
      interfaceBlock(little, 1, 3),
      block(little, 4, [2, 0], [2, 0]),
      block(little, 3, [4, 60], pad(abc)),
      block(little, 3, [4, 2], pad(Uint8Array.of(8, 9))),
      interfaceBlock(little, 101),
      block(little, 5, [4, 0], [4, 0], [4, 0]),
      legacy,
      block(little, 0x80000bad, abcd, abcd),
      block(little, 10),
    )
    const { capture, packets } = read(bytes)
    assert.equal(capture?.truncated, false)
    assert.deepEqual(packets, [
      { timeUs: 0, linkType: 1, interfaceIndex: 0, data: abc, originalLength: 60 },
      { timeUs: 0, linkType: 1, interfaceIndex: 0, data: Uint8Array.of(8, 9), originalLength: 2 },
      { timeUs: 7, linkType: 101, interfaceIndex: 1, data: abc, originalLength: 9, direction: 'in' },
    ])
  }
})

test('data is a part of the bytes given, and comments are read from shared memory too', () => {
  const bytes = file(section(true), interfaceBlock(true, 1), enhanced(true, 0, 1n, abc, 3, option(true, 1, text('hi'))))
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 8)).subarray(5, 5 + bytes.length)
  shared.set(bytes)
  const { packets } = read(shared)
  assert.equal(packets[0]?.data.buffer, shared.buffer)
  assert.equal(packets[0]?.comment, 'hi')
})

test('packets can be iterated again from the beginning', () => {
  const capture = readCapture(pcap(true, 0xa1b2c3d4, [1, 0, abc, 3], [2, 0, abc, 3]))
  assert.deepEqual([...capture.packets()], [...capture.packets()])
})

test('what is no capture file is EINVAL', () => {
  for (const bytes of [new Uint8Array(0), abc, text('GET / HTTP/1.1'), new Uint8Array(100)]) {
    assert.equal(read(bytes).error?.code, 'EINVAL')
  }
})

const start = [section(true), interfaceBlock(true, 1), enhanced(true, 0, 1n, abc)]
const startBytes = file(...start).length

/** Pieces after one good packet, what is said of them, and the offset in the piece. */
const damages: [string, Uint8Array, RegExp, number][] = [
  ['a length of 0', new Uint8Array(12), /a block length from 12 .* found 0$/, 4],
  [
    'a length of 8',
    join(true, [
      [4, 6],
      [4, 8],
      [4, 8],
    ]),
    /found 8$/,
    4,
  ],
  [
    'a length that is no multiple of 4',
    join(true, [
      [4, 6],
      [4, 13],
      [8, 0],
    ]),
    /multiple of 4 .* found 13$/,
    4,
  ],
  [
    'an insane length',
    join(true, [
      [4, 6],
      [4, 0xfffffffc],
      [4, 0],
    ]),
    /found 4294967292$/,
    4,
  ],
  [
    'two lengths',
    join(true, [
      [4, 5],
      [4, 12],
      [4, 16],
    ]),
    /length 12 again .* found 16$/,
    8,
  ],
  ['no byte order', block(true, 0x0a0d0d0a, [4, 0x11223344], [8, 0], [4, 0]), /byte order mark 0x1a2b3c4d/, 8],
  ['version 2', block(true, 0x0a0d0d0a, [4, 0x1a2b3c4d], [2, 2], [2, 0], [8, 0]), /version 1 .* found 2$/, 12],
  ['a short section', block(true, 0x0a0d0d0a, [4, 0x1a2b3c4d]), /28 bytes or more/, 0],
  ['a short interface', block(true, 1, [4, 1]), /20 bytes or more .* type 1 /, 0],
  ['a short packet', block(true, 6, [4, 0], [4, 0]), /32 bytes or more .* type 6 /, 0],
  ['a short legacy packet', block(true, 2), /32 bytes or more .* type 2 /, 0],
  ['a short simple packet', block(true, 3), /16 bytes or more .* type 3 /, 0],
  ['a packet of no interface', enhanced(true, 1, 1n, abc), /one of the 1 interfaces .* found interface 1$/, 8],
  ['packet bytes outside', block(true, 6, [4, 0], [8, 0], [4, 5], [4, 5], abcd), /at most 4 .* found 5$/, 20],
  ['simple bytes outside', block(true, 3, [4, 5], abcd), /at most 4 .* found 5$/, 8],
  ['an option outside', enhanced(true, 0, 1n, abcd, 4, [2, 1], [2, 5], abcd), /at most 4 bytes .* found 5$/, 34],
  ['a resolution of 2 bytes', interfaceBlock(true, 1, 0, option(true, 9, text('ab'))), /length of 1 for option 9/, 18],
  ['a time offset of 4', interfaceBlock(true, 1, 0, option(true, 14, abcd)), /length of 8 for option 14/, 18],
  ['flags of 3 bytes', enhanced(true, 0, 1n, abcd, 4, option(true, 2, abc)), /length of 4 for option 2/, 34],
]

for (const [what, piece, sentence, offset] of damages) {
  test(`pcapng with ${what} is EPROTO at its offset, after the packets before it`, () => {
    const { capture, packets, error } = read(file(...start, piece, enhanced(true, 0, 2n, abc)))
    assert.equal(error?.code, 'EPROTO')
    assert.match(error.message, sentence)
    assert.match(error.message, new RegExp(` at offset ${startBytes + offset}, `))
    assert.equal(packets.length, 1)
    assert.equal(capture?.linkTypes[0], 1)
  })
}

test('a packet before any interface is EPROTO', () => {
  for (const packet of [enhanced(true, 0, 1n, abc), block(true, 3, [4, 0])]) {
    assert.match(read(file(section(true), packet)).error?.message ?? '', /one of the 0 interfaces/)
  }
})

test('classic pcap with an insane length or another version is EPROTO', () => {
  const insane = join(true, [
    [4, 1],
    [4, 1],
    [4, 0xffffffff],
    [4, 0xffffffff],
  ])
  const { packets, error } = read(file(pcap(true, 0xa1b2c3d4, [1, 0, abc, 3]), insane))
  assert.equal(packets.length, 1)
  assert.match(error?.message ?? '', /at most 16777216 at offset 51, found 4294967295$/)
  const old = pcap(false, 0xa1b2c3d4)
  old[7] = 3
  assert.match(read(old).error?.message ?? '', /version 2\.4 of pcap at offset 4, found 2\.3$/)
})

test('a packet that claims to have been shorter than what is left of it had that length', () => {
  assert.equal(read(pcap(true, 0xa1b2c3d4, [1, 0, abcd, 2])).packets[0]?.originalLength, 4)
})

/** A file of each format with a few packets, and the offsets after which it is whole. */
function samples(): { bytes: Uint8Array; whole: number[] }[] {
  const made = (['pcap', 'pcapng'] as const).map((format) => {
    const chunks: Uint8Array[] = []
    const writer = createCaptureWriter({ format, linkType: 1, snapLength: 64, write: (u8) => chunks.push(u8.slice()) })
    for (let i = 0; i < 4; i++) {
      writer.flush()
      writer.record(new Uint8Array(70).fill(i), 0, i * 17, 70, 1e15 + i, i % 2 ? 'in' : 'out', 'note'.slice(i))
    }
    writer.close()
    return chunks
  })
  const foreign = [
    section(false),
    interfaceBlock(false, 1, 96, option(false, 9, Uint8Array.of(9)), new Uint8Array(4)),
    enhanced(false, 0, 1n << 60n, abc, 3, option(false, 1, text('x'))),
    block(false, 3, [4, 3], pad(abc)),
    section(true),
    interfaceBlock(true, 101),
    block(true, 2, [2, 0], [2, 0], [8, 0], [4, 4], [4, 4], abcd),
  ]
  return [...made, foreign].map((pieces) => {
    let at = 0
    return { bytes: file(...pieces), whole: pieces.map((piece) => (at += piece.length)) }
  })
}

test('a file cut at any byte gives the packets before the cut and says that it is truncated', () => {
  for (const { bytes, whole } of samples()) {
    const all = read(bytes).packets
    for (let length = 0; length <= bytes.length; length++) {
      const { capture, packets, error } = read(bytes.subarray(0, length))
      assert.deepEqual(packets, all.slice(0, packets.length))
      if (error !== undefined) assert(length < whole[0]!, 'only a cut header is an error')
      else if (whole.includes(length)) assert.equal(capture?.truncated, false)
    }
    const { capture, packets } = read(bytes.subarray(0, bytes.length - 1))
    assert.equal(capture?.truncated, true)
    assert.deepEqual(packets, all.slice(0, -1))
  }
})

test('random damage gives packets inside the file or one KernelError, and ends', () => {
  const files = samples().map(({ bytes }) => bytes)
  const interesting = fc.constantFrom(0, 1, 3, 4, 12, 0x7f, 0x80, 0xff)
  const damage = fc.tuple(fc.nat(), fc.oneof(fc.nat(255), interesting))
  fc.assert(
    fc.property(
      fc.nat(files.length - 1),
      fc.array(damage, { minLength: 1, maxLength: 8 }),
      fc.nat(40),
      (which, all, cut) => {
        const bytes = files[which]!.slice(0, files[which]!.length - cut)
        for (const [place, value] of all) bytes[place % bytes.length] = value
        const { capture, packets } = read(bytes)
        assert(packets.length <= bytes.length / 12)
        for (const { data, originalLength, linkType, interfaceIndex } of packets) {
          assert(data.buffer === bytes.buffer && originalLength >= data.length)
          assert.equal(capture?.linkTypes[interfaceIndex], linkType)
        }
      },
    ),
    { seed: 4711, numRuns: 20_000 },
  )
})

test('random bytes after a good beginning give packets or one KernelError', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(4, 24, 28, 48, 76),
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(2),
      (keep, noise, which) => {
        read(file(samples()[which]!.bytes.subarray(0, keep), noise))
      },
    ),
    { seed: 4711, numRuns: 2000 },
  )
})
