import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Errno } from '../../base/errno.ts'
import {
  checkInterfaceName,
  configureInterface,
  interfaceHardwareAddress,
  interfaceMtu,
  parseInterfaceAddress,
} from './interface.ts'
import { type Libc, libcUnavailable } from './library.ts'

const skip = libcUnavailable()

test('an address with its prefix is what was written', () => {
  const octet = fc.nat(255)
  fc.assert(
    fc.property(fc.tuple(octet, octet, octet, octet), fc.nat(32), (octets, length) => {
      const { address, mask } = parseInterfaceAddress(`${octets.join('.')}/${length}`)
      assert.deepEqual([address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255], octets)
      assert.equal(mask.toString(2).padStart(32, '0'), '1'.repeat(length).padEnd(32, '0'))
    }),
    { seed: 1, numRuns: 300 },
  )
})

test('what is no address with its prefix is refused, and the error shows one', () => {
  for (const text of ['', '10.77.0.1', '10.77.0.1/33', '10.77.0.256/24', '10.77.1/24', 'fd00::1/64', '10.77.0.1/24 ']) {
    assert.throws(() => parseInterfaceAddress(text), { code: 'EINVAL', message: /10\.77\.0\.1\/24/ }, text)
  }
})

test('a name that Linux takes is taken', () => {
  for (const name of ['df0', 'a', 'eth0.5', 'fifteen-letters', '%d']) checkInterfaceName(name)
})

test('a name that Linux does not take is refused, and the error says what is expected', () => {
  for (const name of ['', '.', '..', 'sixteen-letters-', 'a/b', 'a b', 'a:1', 'a\n', 'a\0', 'ä']) {
    const expected = { code: 'EINVAL', message: /1 to 15 characters/ }
    assert.throws(() => checkInterfaceName(name), expected, JSON.stringify(name))
    assert.throws(() => configureInterface(name, {}), expected)
    assert.throws(() => interfaceMtu(name), expected)
    assert.throws(() => interfaceHardwareAddress(name), expected)
  }
})

test('an interface that is not there is said not to be there', { skip }, () => {
  assert.throws(() => interfaceMtu('df-is-not-here'), { code: 'ENODEV', message: /there is no interface of this name/ })
  assert.throws(() => configureInterface('df-is-not-here', { up: true }), { code: 'ENODEV' })
})

test('an interface that is no TUN or TAP device is left alone', { skip }, () => {
  // Nothing is asked for that would change it, should it ever be taken.
  assert.throws(() => configureInterface('lo', {}), { code: 'EOPNOTSUPP', message: /left alone/ })
})

test('a user without the right is told how to get it, and no socket stays open', () => {
  const closed: number[] = []
  const system: Partial<Libc> = {
    socket: () => 7,
    pointer: () => 4096,
    ioctl: () => -Errno.EPERM,
    close: (descriptor) => closed.push(descriptor),
  }
  assert.throws(() => configureInterface('df0', { up: true }, system as Libc), {
    code: 'EPERM',
    message: /setcap cap_net_admin\+ep .* ip link set df0 up/,
  })
  assert.deepEqual(closed, [7])
})

test('an MTU that cannot be is refused', () => {
  for (const mtu of [0, -1, 1.5, 65536, Number.NaN]) {
    assert.throws(() => configureInterface('df0', { mtu }), { code: 'EINVAL', message: /68 to 65535/ })
  }
})
