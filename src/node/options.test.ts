import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { programEnvironment, programOptions } from './options.ts'

const refuses = (environment: { [name: string]: string }, sentence: RegExp) =>
  assert.throws(() => programOptions(environment), { code: 'EINVAL', message: sentence })

describe('the options of a program', () => {
  test('have values when nothing is said', () => {
    assert.deepEqual(programOptions({}), {
      device: 'tun',
      name: 'df0',
      address: '10.77.0.2/24',
      kernelAddress: '10.77.0.1/24',
      gateway: undefined,
      cpus: 1,
      instances: false,
      pcap: undefined,
    })
  })

  test("leave the kernel the first address that is not the host's", () => {
    for (const [own, kernel] of [
      ['10.0.0.1/24', '10.0.0.2/24'],
      ['10.0.0.0/31', '10.0.0.1/31'],
      ['10.0.0.1/31', '10.0.0.0/31'],
      ['172.16.3.4/12', '172.16.0.1/12'],
    ] as const) {
      assert.equal(programOptions({ DAMSELFLY_ADDRESS: own }).kernelAddress, kernel, own)
    }
  })

  test('are the same when they have been an environment', () => {
    const options = programOptions({
      DAMSELFLY_DEVICE: 'tap',
      DAMSELFLY_TUN: 'df%d',
      DAMSELFLY_ADDRESS: '10.1.2.3/16',
      DAMSELFLY_KERNEL_ADDRESS: '10.1.9.9/16',
      DAMSELFLY_GATEWAY: '10.1.9.9',
      DAMSELFLY_CPUS: '4',
      DAMSELFLY_INSTANCES: '1',
      DAMSELFLY_PCAP: 'a.pcapng',
    })
    assert.deepEqual(programOptions(programEnvironment(options)), options)
    assert.deepEqual(programOptions(programEnvironment(programOptions({}))), programOptions({}))
  })

  test('that cannot be are refused, by the names that they have on the command line and in the environment', () => {
    refuses({ DAMSELFLY_DEVICE: 'wire' }, /^--device \(DAMSELFLY_DEVICE\) is "wire": give none, tun or tap$/)
    for (const address of [
      '10.0.0.1',
      '10.0.0.0/24',
      '10.0.0.255/24',
      '127.0.0.1/8',
      '224.0.0.1/24',
      '0.0.0.1/8',
      'x',
      '::1/64',
      '10.0.0.1/7',
    ]) {
      refuses(
        { DAMSELFLY_ADDRESS: address },
        /^--address \(DAMSELFLY_ADDRESS\) is ".*": give an IPv4 address of a host/,
      )
    }
    refuses({ DAMSELFLY_ADDRESS: '10.0.0.1/32' }, /give a prefix with room for the kernel/)
    refuses({ DAMSELFLY_KERNEL_ADDRESS: '10.77.0.2/24' }, /give another address than the host's own/)
    refuses({ DAMSELFLY_GATEWAY: '10.78.0.1' }, /give an address of the net of 10.77.0.2\/24/)
    refuses({ DAMSELFLY_CPUS: '65' }, /give a whole number from 1 to 64/)
    refuses({ DAMSELFLY_CPUS: '1.5' }, /give a whole number/)
    refuses({ DAMSELFLY_PCAP: 'a.txt' }, /give a file name that ends in .pcap or .pcapng/)
  })
})
