import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { addWord, exchangeBytes, finish, finishUdp, fold, joinSum, pseudoHeaderSum, update } from './checksum.ts'
import { wasmRoutines } from './routines.ts'

const seed = 1624
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
const u8 = new Uint8Array(memory.buffer)
const routines = wasmRoutines(memory, true)

/** Puts bytes, written in hexadecimal, at an address; gives their number. */
function put(address: number, hex: string): number {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  u8.set(bytes, address)
  return bytes.length
}

const word = fc.integer({ min: 0, max: 0xffff })
/** The ones' complement sum as RFC 1071 defines it, word by word. */
const sumOf = (words: number[]): number => words.reduce(addWord, 0)

describe('checksum', () => {
  test('the example of RFC 1071, 3 sums to ddf2', () => {
    const length = put(64, '0001 f203 f4f5 f6f7')
    assert.equal(routines.sum(64, length, 0), 0xddf2)
    assert.equal(fold(0x2ddf0), 0xddf2)
    assert.equal(sumOf([0x0001, 0xf203, 0xf4f5, 0xf6f7]), 0xddf2)
    assert.equal(finish(0x2ddf0), 0x220d)
  })

  test('the example of RFC 1071, 3 with its bytes exchanged sums to f2dd', () => {
    const length = put(64, '0100 03f2 f5f4 f7f6')
    assert.equal(routines.sum(64, length, 0), 0xf2dd)
    assert.equal(exchangeBytes(0xf2dd), 0xddf2)
  })

  test('the header of an IPv4 packet has the checksum that Linux gave it', () => {
    const header = '45000025 fad64000 4011 bbed c0000201 c0000202'
    const length = put(64, header)
    assert.equal(finish(routines.sum(64, length, 0)), 0, 'as received, it is right')
    put(64, header.replace('bbed', '0000'))
    assert.equal(finish(routines.sum(64, length, 0)), 0xbbed, 'as sent')
    put(64, header.replace('bbed', 'bbec'))
    assert.notEqual(finish(routines.sum(64, length, 0)), 0, 'one bit is wrong')
  })

  test('a UDP datagram over IPv4 has the checksum that Linux gave it, pseudo header included', () => {
    put(64, '45000025 fad64000 4011bbed c0000201 c0000202')
    const datagram = '14e9 0035 0011 4ffc 64616d73656c666c79'
    const length = put(84, datagram)
    const pseudo = pseudoHeaderSum(routines, 64 + 12, 64 + 16, 4, 17, length)
    assert.equal(finish(routines.sum(84, length, pseudo)), 0)
    put(84, datagram.replace('4ffc', '0000'))
    assert.equal(finishUdp(routines.sum(84, length, pseudo)), 0x4ffc)
  })

  test('a UDP datagram over IPv6 has the checksum that Linux gave it, pseudo header included', () => {
    put(64, '6008b4bc 00111140 20010db8000000000000000000000001 20010db8000000000000000000000002')
    const datagram = '14e9 0035 0011 788b 64616d73656c666c79'
    const length = put(104, datagram)
    const pseudo = pseudoHeaderSum(routines, 64 + 8, 64 + 24, 16, 17, length)
    assert.equal(finish(routines.sum(104, length, pseudo)), 0)
    put(104, datagram.replace('788b', '0000'))
    assert.equal(finishUdp(routines.sum(104, length, pseudo)), 0x788b)
  })

  test('a pseudo header sums to the same wherever its addresses lie', () => {
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 })
    const length = fc.integer({ min: 0, max: 0xffffffff })
    fc.assert(
      fc.property(
        bytes,
        fc.constantFrom(4 as const, 16 as const),
        fc.nat(255),
        length,
        (bytes, size, protocol, length) => {
          const source = bytes.subarray(0, size)
          const target = bytes.subarray(16, 16 + size)
          // RFC 8200's picture; RFC 768's has the same words but for zeros.
          const picture = new DataView(new ArrayBuffer(size * 2 + 8))
          new Uint8Array(picture.buffer).set(source)
          new Uint8Array(picture.buffer).set(target, size)
          picture.setUint32(size * 2, length)
          picture.setUint32(size * 2 + 4, protocol)
          u8.set(new Uint8Array(picture.buffer), 512)
          const expected = routines.sum(512, picture.byteLength, 0)
          u8.set(source, 64)
          u8.set(target, 64 + size)
          u8.set(target, 201)
          assert.equal(pseudoHeaderSum(routines, 64, 64 + size, size, protocol, length), expected)
          assert.equal(pseudoHeaderSum(routines, 64, 201, size, protocol, length), expected)
          assert.equal(
            pseudoHeaderSum(routines, 201, 64, size, protocol, length),
            expected,
            'the order does not matter',
          )
        },
      ),
      { seed },
    )
  })

  test('UDP sends 0xffff where the checksum is 0, and everything else as it is', () => {
    assert.equal(finishUdp(0xffff), 0xffff)
    assert.equal(finishUdp(0), 0xffff)
    assert.equal(finishUdp(0xfffe), 1)
  })

  test('a packet in parts of any length sums to what it sums to whole', () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 })
    fc.assert(
      fc.property(parts, (parts) => {
        let sum = 0
        let offset = 0
        for (const part of parts) {
          // Each by itself at some other place, and the whole put together at 4096.
          u8.set(part, 64)
          u8.set(part, 4096 + offset)
          sum = joinSum(sum, routines.sum(64, part.length, 0), offset)
          offset += part.length
        }
        assert.equal(sum, routines.sum(4096, offset, 0))
      }),
      { seed, numRuns: 500 },
    )
  })

  test('the example of RFC 1624, 4 updates dd2f to 0000', () => {
    assert.equal(update(0xdd2f, 0x5555, 0x3285), 0x0000)
  })

  test('an update of one word equals computing the checksum anew, unless all becomes 0', () => {
    const some = fc.array(word, { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(some, fc.nat(), word, (words, place, value) => {
        const index = place % words.length
        const changed = words.with(index, value)
        fc.pre(changed.some((word) => word !== 0))
        assert.equal(update(finish(sumOf(words)), words[index]!, value), finish(sumOf(changed)))
      }),
      { seed, numRuns: 2000 },
    )
    assert.equal(update(finish(sumOf([0x0800])), 0x0800, 0), 0)
    assert.equal(finish(sumOf([0])), 0xffff)
  })

  test('an update that changes nothing leaves the checksum as it is', () => {
    fc.assert(
      fc.property(word, word, (checksum, word) => {
        // 0xffff is the checksum of zeros only, which have no other word to exchange.
        fc.pre(checksum !== 0xffff)
        assert.equal(update(checksum, word, word), checksum)
      }),
      { seed },
    )
  })

  test('a fold keeps a sum modulo 0xffff, and makes 0 of 0 only', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (sum) => {
        assert.equal(fold(sum), sum === 0 ? 0 : ((sum - 1) % 0xffff) + 1)
      }),
      { seed, numRuns: 1000, examples: [[0], [0xffff], [0x10000], [0x1fffe], [0xffff0000], [0xffffffff]] },
    )
  })
})
