import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type DispatchConfig, dispatchPlan, LAYERS, parseDispatch, parseLayers, QUEUE_LIMIT } from './policy.ts'

const refuses = (read: () => unknown, message: RegExp) => assert.throws(read, { code: 'EINVAL', message })

describe('dispatch policies', () => {
  test('are direct where nothing is said, and nothing is a layer', () => {
    const { policies, layers, queueLimit } = dispatchPlan({})
    assert.deepEqual(new Set(Object.values(policies)), new Set(['direct']))
    assert.deepEqual([layers, queueLimit], [[], QUEUE_LIMIT])
  })

  test('are those of the configuration, and deferred behind a layer', () => {
    const { policies } = dispatchPlan({ dispatch: { ip: 'hybrid', arp: 'deferred' }, layers: ['tcp'] })
    const { ether, arp, ip, icmp, igmp, udp, tcp } = policies
    assert.deepEqual([ether, arp, ip], ['direct', 'deferred', 'hybrid'])
    assert.deepEqual([icmp, igmp, udp, tcp], ['deferred', 'deferred', 'deferred', 'deferred'])
    assert.equal(dispatchPlan({ layers: ['ether'] }).policies.ether, 'deferred')
    assert.equal(dispatchPlan({ layers: ['ip'], dispatch: { ip: 'deferred' } }).policies.ip, 'deferred')
    assert.equal(dispatchPlan({ layers: ['socket'] }).policies.tcp, 'direct')
  })

  test('are read as one word, or by protocol', () => {
    assert.deepEqual(parseDispatch('tcp=deferred,ip=hybrid'), { tcp: 'deferred', ip: 'hybrid' })
    assert.deepEqual(new Set(Object.values(parseDispatch('hybrid'))), new Set(['hybrid']))
    assert.equal(Object.keys(parseDispatch('hybrid')).length, 7)
  })

  test('that are none are refused with what there is', () => {
    for (const text of ['', 'fast', 'tcp=', 'tcp', 'tcp=direct,', 'tcp=a=b', 'ether:direct', 'constructor=direct']) {
      refuses(() => parseDispatch(text), /^dispatch .*(: give direct, hybrid|: there are)/)
    }
    refuses(
      () => parseDispatch('ip=fast'),
      /^dispatch of ip has an unknown policy "fast": there are direct, hybrid, deferred$/,
    )
    const conflict: DispatchConfig = { layers: ['ip'], dispatch: { ip: 'hybrid' } }
    refuses(
      () => dispatchPlan(conflict),
      /^dispatch of ip is "hybrid", and the layer ip makes it a queue: leave one of/,
    )
    for (const queueLimit of [0, -1, 1.5, Number.NaN, 65_537]) {
      refuses(() => dispatchPlan({ queueLimit }), /^queueLimit is .*: give a whole number from 1 to 65536$/)
    }
  })
})

describe('layers', () => {
  test('are read as a list or as all of them, in the order of the stack', () => {
    assert.deepEqual(parseLayers('socket,ether'), ['ether', 'socket'])
    assert.deepEqual(parseLayers('all'), LAYERS)
    assert.deepEqual(dispatchPlan({ layers: ['tcp', 'ip', 'tcp'] }).layers, ['ip', 'tcp'])
  })

  test('that are none are refused', () => {
    for (const text of ['', 'udp', 'ether,', 'ether ip']) {
      refuses(() => parseLayers(text), /^layers names an unknown layer ".*": there are ether, ip, tcp, socket$/)
    }
  })
})
