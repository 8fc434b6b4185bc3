import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../base/random.ts'
import { Family } from '../address.ts'
import { EPHEMERAL_FIRST, EPHEMERAL_LAST, EphemeralPorts } from './port.ts'

const COUNT = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1
const view = new DataView(new ArrayBuffer(1024))
for (let i = 0; i < 1024; i++) view.setUint8(i, (i * 37) ^ (i >> 3))
const LOCAL = 0
const REMOTE = 100

const choose = (ports: EphemeralPorts, accept: (port: number) => boolean, remote = REMOTE, remotePort = 80) =>
  ports.choose(view, Family.inet, LOCAL, remote, remotePort, accept)
const any = () => true

describe('ephemeral ports', () => {
  test('are dynamic ports, and which one comes is not to be known', () => {
    const first = new Set<number>()
    for (let seed = 0; seed < 200; seed++) {
      const port = choose(new EphemeralPorts(new Random(seed)), any)
      assert(port >= 49152 && port <= 65535)
      first.add(port)
    }
    assert(first.size > 190, `${first.size} of 200`)
  })

  test('begin elsewhere for each peer, and go up from there (@rfc 6056 3.3.4)', () => {
    const ports = new EphemeralPorts(new Random(1))
    const starts = new Set<number>()
    for (let peer = 0; peer < 200; peer++) {
      let previous = choose(ports, any, peer * 4, 443)
      starts.add(previous)
      for (let i = 0; i < 20; i++) {
        const port = choose(ports, any, peer * 4, 443)
        const step = (port - previous + COUNT) % COUNT
        assert(step >= 1 && step <= 8, `a step of ${step}`)
        previous = port
      }
    }
    assert(starts.size > 180, `${starts.size} of 200`)
  })

  test('are not used again before at least 2048 others were', () => {
    const ports = new EphemeralPorts(new Random(2))
    const seen = new Map<number, number>()
    for (let i = 0; i < 20_000; i++) {
      const port = choose(ports, any)
      const before = seen.get(port)
      if (before !== undefined) assert(i - before >= 2048, `port ${port} again after ${i - before}`)
      seen.set(port, i)
    }
    // Steps of 4.5 ports on average, five times round.
    assert(seen.size > COUNT * 0.65, `and most are used in the end: ${seen.size}`)
  })

  test('are only those that the caller wants', () => {
    const ports = new EphemeralPorts(new Random(3))
    for (let i = 0; i < 500; i++) assert.equal(choose(ports, (port) => port % 8 === 5) % 8, 5)
  })

  test('each one is found when it is the last, and asked for once', () => {
    const ports = new EphemeralPorts(new Random(4))
    for (const wanted of [EPHEMERAL_FIRST, EPHEMERAL_FIRST + 1, 60_000, EPHEMERAL_LAST]) {
      const asked = new Set<number>()
      const port = choose(ports, (candidate) => {
        assert(!asked.has(candidate))
        asked.add(candidate)
        return candidate === wanted
      })
      assert.equal(port, wanted)
    }
  })

  test('there is none when all are taken, after each was asked for once', () => {
    const ports = new EphemeralPorts(new Random(5))
    const asked = new Set<number>()
    assert.equal(
      choose(ports, (port) => {
        asked.add(port)
        return false
      }),
      0,
    )
    assert.equal(asked.size, COUNT)
  })

  test('16384 connections to one peer are possible, and no more', () => {
    const ports = new EphemeralPorts(new Random(6))
    const used = new Set<number>()
    for (let i = 0; i < COUNT; i++) {
      const port = choose(ports, (candidate) => !used.has(candidate))
      assert(!used.has(port) && port !== 0)
      used.add(port)
    }
    assert.equal(
      choose(ports, (candidate) => !used.has(candidate)),
      0,
    )
  })

  test('the peer, its port and our address decide where they begin, in both families', () => {
    const ports = () => new EphemeralPorts(new Random(7))
    const starts = new Set([
      choose(ports(), any),
      choose(ports(), any, REMOTE + 1),
      choose(ports(), any, REMOTE, 81),
      ports().choose(view, Family.inet, LOCAL + 1, REMOTE, 80, any),
      ports().choose(view, Family.inet6, LOCAL, REMOTE, 80, any),
    ])
    assert.equal(starts.size, 5)
  })

  test('of a range of their own are all of that range before there is none', () => {
    const ports = new EphemeralPorts(new Random(5), { first: 1000, last: 1006 })
    const taken = new Set<number>()
    for (let i = 0; i < 7; i++) taken.add(choose(ports, (port) => !taken.has(port)))
    assert.deepEqual([...taken].sort(), [1000, 1001, 1002, 1003, 1004, 1005, 1006])
    assert.equal(
      choose(ports, (port) => !taken.has(port)),
      0,
    )
  })

  test('of a range that cannot be are refused', () => {
    for (const range of [
      { first: 0, last: 5 },
      { first: 9, last: 8 },
      { first: 1, last: 65536 },
    ]) {
      assert.throws(() => new EphemeralPorts(new Random(5), range), {
        code: 'EINVAL',
        message: /the smaller one first/,
      })
    }
  })
})
