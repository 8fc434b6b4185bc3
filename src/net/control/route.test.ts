import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno, KernelError } from '../../base/errno.ts'
import { address } from '../testing/frame.ts'
import { onHosts, type TestHost, withHost } from '../testing/host.ts'
import { RoundKind } from './round.ts'

const ROUTE = { prefix: '192.0.2.0/24', gateway: '10.0.0.254', interface: 'w0' }

function change(
  host: TestHost,
  cpu: number,
  what: 'addRoute' | 'removeRoute',
  route: typeof ROUTE | { prefix: string; interface: string },
): number {
  const codes: number[] = []
  host.on(cpu, (stack) => stack[what](route, (code) => codes.push(code)))
  host.run()
  assert.equal(codes.length, 1)
  return codes[0]!
}

/** The gateway that each CPU has for a target, or what there is instead. */
function gateways(host: TestHost, target: string): string[] {
  return host.stacks.map(({ context }) => {
    context.u8.set(address(target), context.scratch)
    const route = context.routes.lookup(context.u8, 4, context.scratch)
    return route === undefined ? 'none' : (route.gateway?.join('.') ?? 'link')
  })
}

const everywhere = (host: TestHost, what: string) => host.stacks.map(() => what)

describe('routes', () => {
  onHosts(
    'a route that one CPU adds, all have; and that one removes, none has (@rfc 1122 3.3.1.2/static)',
    {},
    (host) => {
      assert.deepEqual(gateways(host, '192.0.2.1'), everywhere(host, 'none'))
      assert.equal(change(host, host.cpuCount - 1, 'addRoute', ROUTE), 0)
      assert.deepEqual(gateways(host, '192.0.2.1'), everywhere(host, '10.0.0.254'))
      assert.equal(change(host, 0, 'addRoute', { prefix: '192.0.2.128/25', interface: 'w0' }), 0)
      assert.deepEqual(gateways(host, '192.0.2.200'), everywhere(host, 'link'))
      assert.equal(change(host, 0, 'removeRoute', ROUTE), 0)
      assert.deepEqual(gateways(host, '192.0.2.1'), everywhere(host, 'none'))
      assert.deepEqual(gateways(host, '192.0.2.200'), everywhere(host, 'link'))
    },
  )

  onHosts('a route that is there is EEXIST, one that is not is ENOENT', {}, (host) => {
    assert.equal(change(host, 0, 'addRoute', ROUTE), 0)
    assert.equal(change(host, 0, 'addRoute', ROUTE), Errno.EEXIST)
    assert.deepEqual(gateways(host, '192.0.2.1'), everywhere(host, '10.0.0.254'))
    assert.equal(change(host, 0, 'removeRoute', ROUTE), 0)
    assert.equal(change(host, 0, 'removeRoute', ROUTE), Errno.ENOENT)
    assert.deepEqual(gateways(host, '192.0.2.1'), everywhere(host, 'none'))
  })

  test('no replica stays alone with a route that another CPU cannot take', () => {
    withHost({ cpus: 4, seed: 2 }, (host) => {
      // CPU 2 has it already, as if its replica were full.
      host.stacks[2]!.context.routes.insert({
        family: 4,
        bytes: address('192.0.2.0'),
        length: 24,
        interfaceIndex: 1,
      })
      assert.equal(change(host, 3, 'addRoute', ROUTE), Errno.EEXIST)
      assert.deepEqual(gateways(host, '192.0.2.1'), ['none', 'none', 'link', 'none'])
    })
  })

  test('a route that cannot be removed everywhere stays, with its gateway', () => {
    withHost({ cpus: 4, seed: 3 }, (host) => {
      assert.equal(change(host, 1, 'addRoute', ROUTE), 0)
      host.stacks[3]!.rounds.handle(RoundKind.removeRoute, { apply: () => Errno.EBUSY, undo: () => assert.fail() })
      assert.equal(change(host, 1, 'removeRoute', ROUTE), Errno.EBUSY)
      assert.deepEqual(gateways(host, '192.0.2.1'), everywhere(host, '10.0.0.254'))
    })
  })

  test('what cannot be is said at once, by a sentence', () => {
    withHost({ cpus: 2 }, (host) => {
      const attempt = (route: Parameters<typeof change>[3]) => () =>
        host.stacks[1]!.addRoute(route, () => assert.fail())
      const refuses = (code: string, text: RegExp) => (error: unknown) =>
        error instanceof KernelError && error.code === code && text.test(error.message)
      assert.throws(
        attempt({ ...ROUTE, interface: 'eth7' }),
        refuses('ENODEV', /no interface "eth7"; there are lo, w0/),
      )
      assert.throws(attempt({ ...ROUTE, gateway: 'fe80::1' }), refuses('EINVAL', /same address family/))
      assert.throws(attempt({ ...ROUTE, prefix: '192.0.2.0/33' }), refuses('EINVAL', /prefix/))
    })
  })
})

test('a route over the loopback interface is refused', () => {
  withHost({ cpus: 1 }, (host) => {
    host.on(0, (stack) => {
      assert.throws(() => stack.addRoute({ prefix: '9.0.0.0/8', interface: 'lo' }, () => {}), /loopback/)
    })
  })
})
