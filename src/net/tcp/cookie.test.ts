import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Random } from '../../base/random.ts'
import { Family } from '../address.ts'
import { COOKIE_MSS, SynCookies } from './cookie.ts'
import { distance } from './sequence.ts'

const S = 1_000_000
const PERIOD = 64 * S
const seed = 4987
const view = new DataView(new ArrayBuffer(64))
for (let i = 0; i < 64; i++) view.setUint8(i, i * 11)

interface Ends {
  readonly family: Family
  readonly local: number
  readonly localPort: number
  readonly remote: number
  readonly remotePort: number
}
const ENDS: Ends = { family: Family.inet, local: 1, localPort: 80, remote: 33, remotePort: 5000 }

const make = (cookies: SynCookies, now: number, peerIss: number, mss: number, ends = ENDS) =>
  cookies.make(now, view, ends.family, ends.local, ends.localPort, ends.remote, ends.remotePort, peerIss, mss)
const check = (cookies: SynCookies, now: number, peerIss: number, cookie: number, ends = ENDS) =>
  cookies.check(now, view, ends.family, ends.local, ends.localPort, ends.remote, ends.remotePort, peerIss, cookie)

describe('syn cookies', () => {
  test('a cookie comes back, and with it the MSS, a little rounded down', () => {
    const cookies = new SynCookies(new Random(1))
    for (const [mss, known] of [
      [1, 216],
      [535, 216],
      [536, 536],
      [1219, 536],
      [1220, 1220],
      [1440, 1440],
      [1459, 1452],
      [1460, 1460],
      [8960, 8940],
      [65535, 8940],
    ] as const) {
      const cookie = make(cookies, S, 12345, mss)
      assert.equal(cookie, cookie | 0)
      assert.equal(check(cookies, S, 12345, cookie), true)
      assert.equal(cookies.mss, known)
    }
  })

  test('a SYN without an MSS option means 536 in IPv4 and 1220 in IPv6 (@rfc 9293 MUST-15)', () => {
    const cookies = new SynCookies(new Random(1))
    assert.equal(check(cookies, S, 5, make(cookies, S, 5, 0)), true)
    assert.equal(cookies.mss, 536)
    const ends = { ...ENDS, family: Family.inet6 }
    assert.equal(check(cookies, S, 5, make(cookies, S, 5, 0, ends), ends), true)
    assert.equal(cookies.mss, 1220)
  })

  test('whatever the peer begins with and whenever, a cookie is good for 64 s and no longer than 128 s', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.nat({ max: 65535 }),
        fc.integer({ min: 0, max: 2 ** 40 }),
        fc.nat(4 * PERIOD),
        (iss, mss, at, age) => {
          const cookies = new SynCookies(new Random(at >>> 0))
          const cookie = make(cookies, at, iss, mss)
          const good = check(cookies, at + age, iss, cookie)
          if (age < PERIOD) assert.equal(good, true)
          if (age >= 2 * PERIOD) assert.equal(good, false)
          const periods = Math.floor((at + age) / PERIOD) - Math.floor(at / PERIOD)
          assert.equal(good, periods < 2)
          if (good) assert(cookies.mss <= Math.max(mss === 0 ? 536 : mss, COOKIE_MSS[0]))
        },
      ),
      { seed, numRuns: 500 },
    )
  })

  test('a cookie is good while others are made from minute to minute', () => {
    const cookies = new SynCookies(new Random(3))
    let previous = make(cookies, 0, 1, 1460)
    for (let now = PERIOD; now < 20 * PERIOD; now += PERIOD) {
      const cookie = make(cookies, now, 1, 1460)
      assert.equal(check(cookies, now, 1, cookie), true)
      assert.equal(check(cookies, now, 1, previous), true)
      assert.equal(check(cookies, now + PERIOD, 1, cookie), true)
      assert.equal(check(cookies, now + PERIOD, 1, previous), false)
      previous = cookie
    }
  })

  test('a cookie is good for nobody else, and for no other SYN', () => {
    const cookies = new SynCookies(new Random(4))
    const cookie = make(cookies, S, 1000, 1460)
    assert.equal(check(cookies, S, 1000, cookie), true)
    for (const change of [
      { family: Family.inet6 },
      { local: 2 },
      { localPort: 81 },
      { remote: 34 },
      { remotePort: 5001 },
    ]) {
      assert.equal(check(cookies, S, 1000, cookie, { ...ENDS, ...change }), false, JSON.stringify(change))
    }
    assert.equal(check(cookies, S, 1001, cookie), false)
    assert.equal(check(cookies, S, 1001, (cookie + 1) | 0), false, 'a cookie is not moved along with the ISN')
    assert.equal(check(new SynCookies(new Random(5)), S, 1000, cookie), false, 'another CPU has other secrets')
  })

  test('no bit of a cookie can be changed', () => {
    const cookies = new SynCookies(new Random(6))
    const cookie = make(cookies, S, -77, 1460)
    for (let bit = 0; bit < 32; bit++) assert.equal(check(cookies, S, -77, cookie ^ (1 << bit)), false)
  })

  test('a guess fails', () => {
    const cookies = new SynCookies(new Random(7))
    const random = new Random(8)
    make(cookies, S, 0, 1460)
    for (let i = 0; i < 100_000; i++) assert.equal(check(cookies, S, random.next() | 0, random.next() | 0), false)
  })

  test('no secret is one that anybody could know, from the first cookie on', () => {
    // The secret of the other period has made no cookie yet: one made under a key of zeros must not pass.
    class Zeros extends Random {
      override next(): number {
        return 0
      }
    }
    const forger = new SynCookies(new Zeros(0))
    const cookies = new SynCookies(new Random(9))
    make(cookies, 0, 5, 1460)
    for (const at of [0, PERIOD]) assert.equal(check(cookies, S, 5, make(forger, at, 5, 1460)), false)
  })

  test('what others get says nothing: no difference between cookies comes twice', () => {
    const cookies = new SynCookies(new Random(10))
    const differences = new Set<number>()
    let previous = 0
    for (let port = 0; port < 20_000; port++) {
      const cookie = make(cookies, S, 42, 1460, { ...ENDS, remotePort: port })
      differences.add(distance(previous, cookie))
      previous = cookie
    }
    // 2^28 different ones: 20000 meet by chance about once.
    assert(differences.size >= 20_000 - 8, `${differences.size}`)
  })
})

describe('timestamps that carry options', () => {
  const cookies = new SynCookies(new Random(1))

  test('say what the SYN had, and are never ahead of the clock', () => {
    for (const clock of [0, 63, 64, 1000, -1, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 5])
      for (let scale = -1; scale <= 14; scale++)
        for (const sack of [false, true])
          for (const ecn of [false, true]) {
            const timestamp = cookies.encodeTimestamp(clock, scale, sack, ecn)
            assert.equal(timestamp, timestamp | 0)
            const behind = distance(timestamp, clock)
            assert(behind >= 0 && behind < 64, `${behind}`)
            cookies.decodeTimestamp(timestamp)
            assert.deepEqual([cookies.windowScale, cookies.sackPermitted, cookies.ecn], [scale, sack, ecn])
          }
  })

  test('whatever is echoed, a scale is one that windows can have (@rfc 7323 2.3)', () => {
    for (let echo = 0; echo < 64; echo++) {
      cookies.decodeTimestamp(echo)
      assert(cookies.windowScale >= -1 && cookies.windowScale <= 14)
    }
  })
})
