import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { readLocks } from '../kernel/lock.ts'
import { DISCIPLINES, type Discipline } from '../net/discipline.ts'
import { createHost, createNetwork, Host, type HostOptions } from './host.ts'
import { disciplineOptions, programEnvironment, programOptions } from './options.ts'
import { hostConfig, startHost } from './start.ts'

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
      trace: 'off',
      discipline: 'connp-t',
      groups: undefined,
      dispatch: {},
      layers: [],
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
    for (const words of [
      { DAMSELFLY_DISCIPLINE: 'giant' },
      { DAMSELFLY_DISCIPLINE: 'connp-l' },
      { DAMSELFLY_DISCIPLINE: 'connp-l', DAMSELFLY_GROUPS: '4' },
      { DAMSELFLY_DISPATCH: 'tcp=deferred,ip=hybrid', DAMSELFLY_LAYERS: 'ether,socket' },
      { DAMSELFLY_DISPATCH: 'deferred', DAMSELFLY_LAYERS: 'all' },
    ]) {
      const chosen = programOptions(words)
      assert.deepEqual(programOptions(programEnvironment(chosen)), chosen)
    }
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
    refuses(
      { DAMSELFLY_DISCIPLINE: 'tiny', DAMSELFLY_GROUPS: 'x' },
      /^--discipline \(DAMSELFLY_DISCIPLINE\) is "tiny": give one of giant, msgp, connp-l, connp-t$/,
    )
    const locked = { DAMSELFLY_DISCIPLINE: 'connp-l' }
    refuses({ ...locked, DAMSELFLY_GROUPS: '0' }, /^--groups \(DAMSELFLY_GROUPS\) is 0: give a whole number from 1 to/)
    refuses({ ...locked, DAMSELFLY_GROUPS: '1e2' }, /^--groups \(DAMSELFLY_GROUPS\) is "1e2": give a whole number$/)
    refuses(
      { DAMSELFLY_DISPATCH: 'fast' },
      /^--dispatch \(DAMSELFLY_DISPATCH\) is "fast": give direct, hybrid, deferred, or/,
    )
    refuses(
      { DAMSELFLY_DISPATCH: 'ipx=direct' },
      /^--dispatch \(.*\) names an unknown protocol "ipx": there are ether,/,
    )
    refuses(
      { DAMSELFLY_DISPATCH: 'ip=fast' },
      /^--dispatch \(.*\) of ip has an unknown policy "fast": there are direct/,
    )
    refuses(
      { DAMSELFLY_LAYERS: 'ether,udp' },
      /^--layers \(.*\) names an unknown layer "udp": there are ether, ip, tcp/,
    )
    refuses(
      { DAMSELFLY_DISPATCH: 'udp=direct', DAMSELFLY_LAYERS: 'tcp' },
      /^--dispatch \(.*\) of udp is "direct", and the layer tcp makes it a queue: leave one of them out$/,
    )
    refuses({ DAMSELFLY_GROUPS: '4' }, /^--groups \(DAMSELFLY_GROUPS\) is 4, which is for connp-l: connp-t has its own/)
  })

  test('have instances only where each connection has a CPU', () => {
    for (const discipline of DISCIPLINES) {
      const words = { DAMSELFLY_INSTANCES: '1', DAMSELFLY_CPUS: '2', DAMSELFLY_DISCIPLINE: discipline }
      if (discipline === 'connp-t') assert.equal(programOptions(words).instances, true)
      else
        refuses(
          words,
          new RegExp(`^--instances \\(DAMSELFLY_INSTANCES\\) .* under ${discipline} .*: give --discipline`),
        )
    }
  })
})

describe('the discipline', () => {
  test('is a name, and for connp-l a number of groups beside it or behind it', () => {
    assert.deepEqual(disciplineOptions('msgp', undefined, 2), { discipline: 'msgp', groups: undefined })
    assert.deepEqual(disciplineOptions('connp-l', undefined, 2), { discipline: 'connp-l', groups: undefined })
    assert.deepEqual(disciplineOptions('connp-l', '7', 2), { discipline: 'connp-l', groups: 7 })
    assert.deepEqual(disciplineOptions('connp-l/16', undefined, 2), { discipline: 'connp-l', groups: 16 })
    assert.deepEqual(disciplineOptions('connp-l/16', '7', 2), { discipline: 'connp-l', groups: 7 })
    for (const text of ['connp-l/', 'connp-l/x', 'connp-l/4/4', 'connp-l/-1', 'giant/4', '/4', '']) {
      assert.throws(() => disciplineOptions(text, undefined, 2), { code: 'EINVAL' }, text)
    }
  })

  test('of a program is its host’s, and unsaid is the default', () => {
    const of = (environment: { [name: string]: string }) => {
      const { discipline, groups } = hostConfig(programOptions({ DAMSELFLY_DEVICE: 'none', ...environment }), [0])
      return [discipline, groups]
    }
    assert.deepEqual(of({}), ['connp-t', undefined])
    assert.deepEqual(of({ DAMSELFLY_DISCIPLINE: 'giant' }), ['giant', undefined])
    assert.deepEqual(of({ DAMSELFLY_DISCIPLINE: 'connp-l', DAMSELFLY_GROUPS: '4' }), ['connp-l', 4])
  })

  for (const [discipline, locks] of [
    ['giant', ['giant', 'timer wheel']],
    ['msgp', ['connection group', 'tcp table', 'timer wheel']],
    ['connp-l', ['connection group', 'timer wheel']],
    ['connp-t', []],
  ] as const satisfies readonly (readonly [Discipline, readonly string[]])[]) {
    test(`${discipline} has a connection of a program take ${locks.length === 0 ? 'no lock' : `the locks ${locks.join(', ')}`}`, async () => {
      const started = await startHost(programOptions({ DAMSELFLY_DEVICE: 'none', DAMSELFLY_DISCIPLINE: discipline }))
      const host = new Host('program', started.host, () => started.machine.stop())
      try {
        assert.equal(await ask(host, '127.0.0.1', host), 'served')
        const taken = readLocks(started.machine.memory).filter(({ count }) => count > 0)
        assert.deepEqual(taken.map(({ name }) => name).sort(), locks)
      } finally {
        await host.close()
      }
    })
  }

  test('is each host’s own on a network of the process', async () => {
    const network = createNetwork({ seed: 1, hosts: DISCIPLINES.length })
    try {
      const hosts: Host[] = []
      for (const [i, discipline] of DISCIPLINES.entries()) {
        const groups = discipline === 'connp-l' ? { groups: 2 } : {}
        hosts.push(await createHost({ address: `10.0.0.${i + 1}/24`, network, discipline, ...groups }))
      }
      for (const [i, server] of hosts.entries()) {
        assert.equal(await ask(server, `10.0.0.${i + 1}`, hosts[(i + 1) % hosts.length]!), 'served')
      }
    } finally {
      await network.close()
    }
  })

  test('that cannot be is refused before the host has a place on the network', async () => {
    const network = createNetwork({ hosts: 1 })
    const address = '10.0.0.1/24'
    const refused = (options: Partial<HostOptions>, message: RegExp) =>
      assert.rejects(createHost({ address, network, ...options }), { code: 'EINVAL', message })
    await refused({ discipline: 'tiny' as Discipline }, /^discipline is "tiny": give one of giant, msgp/)
    await refused({ groups: 4 }, /^groups is 4, which is for connp-l/)
    await refused({ discipline: 'connp-l', groups: 0.5 }, /^groups is 0.5: give a whole number from 1 to/)
    assert.equal((await createHost({ address, network, discipline: 'connp-l', groups: 4 })).name, address)
    await network.close()
  })
})

/** What an HTTP server of one host answers to another. */
async function ask(server: Host, host: string, client: Host): Promise<string> {
  const http = server.http.createServer((_, response) => response.end('served'))
  http.listen(0)
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  const text = await new Promise<string>((resolve, reject) => {
    const request = client.http.request({ host, port }, (response) => {
      let all = ''
      response.setEncoding('utf8').on('data', (some) => {
        all += some
      })
      response.on('end', () => resolve(all))
    })
    request.on('error', reject).end()
  })
  http.close()
  return text
}
