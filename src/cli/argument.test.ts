import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parsePrefix } from '../net/address.ts'
import { areNeighbours, decimalNumber, hostPrefix, neighbour, wholeNumber } from './argument.ts'
import { UsageError } from './usage.ts'

const refused = (body: () => unknown, message: RegExp) => assert.throws(body, { name: 'UsageError', message })

/** What a hasty user types where a number belongs. */
const NO_NUMBERS = ['', ' ', '1 ', ' 1', '-1', '+1', '1e3', '0x10', 'NaN', 'Infinity', '1,5', '1_0', '1\n', '١', 'two']

describe('a whole number', () => {
  test('is taken within its range, both ends included', () => {
    for (const text of ['1', '7', '64', '007']) assert.equal(wholeNumber('cpus', text, 1, 64, 2), Number(text))
  })

  test('falls back when the option was not given, and only then', () => {
    assert.equal(wholeNumber('cpus', undefined, 1, 64, 2), 2)
    refused(() => wholeNumber('cpus', '', 1, 64, 2), /^--cpus is "": give a whole number from 1 to 64$/)
  })

  test('of any other form or out of range is refused, with what was given and what was expected', () => {
    for (const text of [...NO_NUMBERS, '0', '65', '1.5', '9'.repeat(400)]) {
      refused(() => wholeNumber('cpus', text, 1, 64, 2), /^--cpus is "[\s\S]*": give a whole number from 1 to 64$/)
    }
  })

  test('is what Number says, or a refusal, for any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.nat().map(String), fc.double().map(String)), (text) => {
        const good = /^[0-9]+$/.test(text) && Number(text) >= 3 && Number(text) <= 4000
        if (good) assert.equal(wholeNumber('x', text, 3, 4000, 9), Number(text))
        else assert.throws(() => wholeNumber('x', text, 3, 4000, 9), UsageError)
      }),
      { seed: 1, numRuns: 500 },
    )
  })
})

describe('a decimal number', () => {
  test('is taken within its range, both ends included', () => {
    for (const text of ['0', '0.1', '.5', '0.9', '0.90'])
      assert.equal(decimalNumber('loss', text, 0, 0.9, 0), Number(text))
    assert.equal(decimalNumber('loss', undefined, 0, 0.9, 0.25), 0.25)
  })

  test('of any other form or out of range is refused, with what was given and what was expected', () => {
    for (const text of [...NO_NUMBERS, '1', '0.91', '1.', '.', '1.2.3', '9'.repeat(400)]) {
      refused(() => decimalNumber('loss', text, 0, 0.9, 0), /^--loss is "[\s\S]*": give a number from 0 to 0.9$/)
    }
  })
})

describe('the address of a host', () => {
  test('is taken with its prefix', () => {
    for (const text of [
      '10.77.0.2/24',
      '192.168.1.1/31',
      '192.168.1.0/31',
      '10.0.0.255/32',
      '10.0.0.255/16',
      '1.0.0.1/8',
    ]) {
      assert.deepEqual(hostPrefix('address', text), parsePrefix(text))
    }
  })

  test('that is the net itself or its broadcast is refused, but for a link of two', () => {
    for (const text of [
      '10.77.0.0/24',
      '10.77.0.255/24',
      '10.0.0.0/8',
      '10.255.255.255/8',
      '10.0.0.4/30',
      '10.0.0.7/30',
    ]) {
      refused(
        () => hostPrefix('address', text),
        /the address of the whole net or its broadcast: give one of a host in it/,
      )
    }
  })

  test('that no host can have is refused', () => {
    for (const text of [
      '127.0.0.1/8',
      '224.0.0.1/24',
      '239.1.2.3/32',
      '240.0.0.1/24',
      '255.255.255.255/32',
      '0.0.0.1/24',
    ]) {
      refused(() => hostPrefix('address', text), /which no host can have on a network: give a unicast address/)
    }
  })

  test('with a prefix shorter than a first byte is refused', () => {
    for (const text of ['10.77.0.2/0', '10.77.0.2/7']) {
      refused(() => hostPrefix('address', text), /^--address is "10.77.0.2\/\d": give a prefix of 8 to 32 bits/)
    }
  })

  test('that is none is refused, with an example', () => {
    const bad = [
      '',
      ' ',
      'x',
      '10.77.0.2',
      '10.77.0.2/',
      '10.77.0.2/33',
      '10.77.0.2/-1',
      '10.77.0/24',
      '10.77.0.2.1/24',
    ]
    for (const text of [...bad, '10.77.0.256/24', '010.77.0.2/24', ' 10.77.0.2/24', '10.77.0.2/24 ', '10.77.0.2/2e1']) {
      refused(() => hostPrefix('address', text), /give an IPv4 address with its prefix length, like 10.77.0.2\/24$/)
    }
  })

  test('of IPv6 is refused as such', () => {
    refused(() => hostPrefix('address', 'fd00::2/64'), /^--address is "fd00::2\/64": give an IPv4 address/)
  })
})

describe('the neighbour that the kernel becomes', () => {
  test('is the first host of the net, or the second when that is taken', () => {
    for (const [own, other] of [
      ['10.77.0.2/24', '10.77.0.1/24'],
      ['10.77.0.1/24', '10.77.0.2/24'],
      ['10.77.0.254/24', '10.77.0.1/24'],
      ['10.77.3.4/16', '10.77.0.1/16'],
      ['10.0.0.5/30', '10.0.0.6/30'],
      ['10.0.0.6/30', '10.0.0.5/30'],
      ['10.0.0.4/31', '10.0.0.5/31'],
      ['10.0.0.5/31', '10.0.0.4/31'],
      ['223.255.255.254/24', '223.255.255.1/24'],
    ] as const) {
      assert.equal(neighbour(parsePrefix(own)), other, own)
    }
  })

  test('has no room where the prefix is the host alone', () => {
    refused(() => neighbour(parsePrefix('10.0.0.5/32')), /no room for the kernel: give a shorter one, like \/24/)
  })

  test('is another host of the same net, for every address that a host can have', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 8, max: 31 }), (address, length) => {
        const own = `${[24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')}/${length}`
        try {
          hostPrefix('address', own)
        } catch {
          return
        }
        const other = neighbour(parsePrefix(own))
        assert.notEqual(other, own)
        assert(areNeighbours(parsePrefix(own), hostPrefix('kernel-address', other)))
      }),
      { seed: 2, numRuns: 1000 },
    )
  })

  test('of different prefixes is one only where both nets hold both', () => {
    const areThey = (a: string, b: string) => areNeighbours(parsePrefix(a), parsePrefix(b))
    assert(areThey('10.77.0.2/24', '10.77.0.1/25'))
    assert(!areThey('10.77.0.2/24', '10.77.1.1/24'))
    assert(!areThey('10.77.0.2/24', '10.77.0.200/25'))
    assert(!areThey('10.77.0.200/25', '10.77.0.2/24'))
    assert(!areThey('10.77.0.2/32', '10.77.0.1/24'))
  })
})
