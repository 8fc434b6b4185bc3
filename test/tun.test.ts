// The command as a real host: Linux's own ping, traceroute, sockets and raw packets reach it over TUN and TAP, in a network
// namespace of their own. The test starts this file a second time inside the namespace, with the part to play.
// DAMSELFLY_LONG=1 pings 100 000 times instead of 20 000.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Snapshot, sum } from '../src/cli/snapshot.ts'
import { libc, libcUnavailable } from '../src/device/linux/library.ts'
import { LinkType } from '../src/device/pcap/format.ts'
import { readCapture } from '../src/device/pcap/reader.ts'
import { available, Namespace } from '../src/lab/tun/namespace.ts'
import { Command, environment, MAIN, until } from './command.ts'

const self = fileURLToPath(import.meta.url)
const FLOOD = process.env.DAMSELFLY_LONG === '1' ? 100_000 : 20_000
const PART_MS = 20_000
const KERNEL = '10.77.0.1'
const HOST = '10.77.0.2'
const ETH_P_IP = 0x0800

const parts: { readonly [name: string]: (argument: string) => unknown } = { exchange, refused, hostile }
const part = parts[process.argv[2] ?? '']
if (part === undefined) tests()
else {
  // A part that hears nothing ends by itself.
  setTimeout(() => process.exit(3), PART_MS).unref()
  console.log(JSON.stringify(await part(process.argv[3] ?? '')))
}

function tests(): void {
  const skip = libcUnavailable() ?? available('ping') ?? false
  for (const kind of ['tun', 'tap'] as const) {
    for (const cpus of [1, 2]) describe(`a host on ${kind} with ${cpus} CPUs`, { skip }, () => hostOn(kind, cpus))
  }
}

function hostOn(kind: 'tun' | 'tap', cpus: number): void {
  let root: string
  let namespace: Namespace
  let host: Command

  const command = (program: string, args: readonly string[], limitMs?: number) =>
    new Command(
      namespace.spawn(program, args, {
        env: environment({ XDG_RUNTIME_DIR: root }),
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
      limitMs,
    )
  const damselfly = (...args: readonly string[]) => [process.execPath, ['--enable-source-maps', MAIN, ...args]] as const
  /** Runs a command inside to its good end; what it printed. */
  const run = async (program: string, args: readonly string[], limitMs?: number) => {
    const { code, stdout, stderr } = await command(program, args, limitMs).ended
    assert.equal(code, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}\nthe host: ${host.stderr}`)
    return stdout
  }
  const play = async (name: string, argument = '') => JSON.parse(await run(process.execPath, [self, name, argument]))
  const stat = async () => JSON.parse(await run(...damselfly('stat', '--json'))) as Snapshot
  const answers = async () => assert.match(await run('ping', ['-c', '1', '-W', '5', HOST]), / 0% packet loss/)

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'df-'))
    namespace = new Namespace(`${kind}${cpus}`)
    const device = ['--device', `${kind}:df0`, '--address', `${HOST}/24`]
    const args = ['up', ...device, '--cpus', `${cpus}`, '--seed', '1', '--pcap', join(root, 'x.pcapng')]
    host = command(...damselfly(...args), 120_000)
    await until('the host', () => host.stdout.includes('\npackets\n') || host.child.exitCode !== null)
    assert.equal(host.child.exitCode, null, host.stderr)
    assert.match(host.stdout, /^10\.77\.0\.2 is up on df0; the kernel's end is 10\.77\.0\.1\/24\. Try:$/m)
  })
  after(async () => {
    await host?.end('SIGKILL')
    namespace?.remove()
    if (root !== undefined) rmSync(root, { recursive: true, force: true })
  })

  test('answers pings', async () => {
    assert.match(await run('ping', ['-c', '3', '-i', '0.2', '-W', '5', HOST]), /3 received, 0% packet loss/)
  })

  test(`answers ${FLOOD} pings of a flood, all of them`, async () => {
    const printed = await run('ping', ['-q', '-f', '-c', `${FLOOD}`, HOST], 90_000)
    assert.match(printed, new RegExp(`${FLOOD} received, 0% packet loss`))
  })

  for (const size of [20_000, 65_507]) {
    test(`answers a ping of ${size} bytes, in fragments both ways`, async () => {
      const printed = await run('ping', ['-q', '-c', '2', '-i', '0.2', '-W', '5', '-s', `${size}`, HOST])
      assert.match(printed, /2 received, 0% packet loss/)
    })
  }

  test('echoes datagrams of 0 to 8000 bytes to a socket of the kernel', async () => {
    const { sizes } = await play('exchange')
    assert(sizes > 50)
  })

  test('refuses a closed port, as a connected socket of the kernel sees it', async () => {
    assert.deepEqual(await play('refused'), { code: 'ECONNREFUSED' })
  })

  test('is where a traceroute ends', { skip: !installed('traceroute') && 'traceroute is not installed' }, async () => {
    assert.match(await run('traceroute', ['-n', '-q', '1', '-w', '3', HOST]), /^ *1 +10\.77\.0\.2 +[\d.]+ ms$/m)
  })

  test('is a neighbour that the kernel knows', { skip: kind === 'tun' && 'TUN has no Ethernet' }, async () => {
    await answers()
    const [, address] = /lladdr (\S+) REACHABLE/.exec(await run('ip', ['neigh', 'show', HOST])) ?? []
    assert.match(address ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)
    // A unicast address that nobody was given by a maker, and not the kernel's own.
    assert.equal(Number.parseInt(address!.slice(0, 2), 16) & 3, 2)
    assert.doesNotMatch(await run('ip', ['link', 'show', 'df0']), new RegExp(address!))
  })

  test('drops what a hostile neighbour sends, under its name, and goes on', async () => {
    const before = await stat()
    const target = kind === 'tap' ? / lladdr (\S+)/.exec(await run('ip', ['neigh', 'show', HOST]))![1]! : ''
    const sent: { readonly [name: string]: number } = await play('hostile', target)
    let missing: string[] = []
    await until('the drops', async () => {
      const now = await stat()
      missing = Object.keys(sent).filter((name) => sum(now, name) - sum(before, name) < sent[name]!)
      return missing.length === 0
    }).catch((error) => assert.fail(`${error.message}; missing: ${missing.join(', ')}`))
    await answers()
  })

  test('accounts for every packet when it rests', async () => {
    await answers()
    let wrong: string[] = []
    await until('balanced accounts', async () => {
      wrong = unbalanced(await stat(), kind)
      return wrong.length === 0
    }).catch((error) => assert.fail(`${error.message}; ${wrong.join('; ')}`))
    const now = await stat()
    assert(sum(now, 'icmp.echoRequests') >= FLOOD + 3)
    assert(sum(now, 'echo.echoed') > 50)
    assert(sum(now, 'udp.noPort') >= 1)
    assert(sum(now, 'reassembly.reassembled') >= 4)
    assert(sum(now, 'ip.sentFragments') > 4)
  })

  test('ends at Ctrl-C with its tables; interface and sockets are gone, and the record is readable', async () => {
    const { code, stdout, stderr } = await host.end('SIGINT')
    assert.deepEqual({ code, stderr }, { code: 130, stderr: '' })
    assert.match(stdout, /^queue operations +[\d ]+ +\d+\.\d{4}$/m)
    assert.match(stdout, /^dropped +packets$/m)
    assert.match(stdout, /^ip\.droppedChecksum +[1-9]/m)
    assert.equal(existsSync(`/proc/${host.pid}`), false)
    const link = await command('ip', ['link', 'show', 'df0']).ended
    assert.match(link.stderr, /does not exist/)
    assert.deepEqual(readdirSync(join(root, `damselfly-${process.getuid?.()}`)), [])
    const files = cpus === 1 ? ['x.pcapng'] : ['x-0.pcapng', 'x-1.pcapng']
    assert.deepEqual(
      readdirSync(root)
        .filter((name) => name.startsWith('x'))
        .sort(),
      files,
    )
    const seen = { 'in 8': 0, 'out 0': 0 }
    for (const file of files) {
      const capture = readCapture(readFileSync(join(root, file)), file)
      for (const { linkType, direction, data } of capture.packets()) {
        assert.equal(linkType, kind === 'tap' ? LinkType.ETHERNET : LinkType.RAW)
        const ip = data.subarray(kind === 'tap' ? 14 : 0)
        // The first or only fragment of a ping: type 8 comes in, type 0 goes out.
        if (ip.length < 28 || ip[0] !== 0x45 || ip[9] !== 1 || (ip[6]! & 0x1f) + ip[7]! !== 0) continue
        const name = `${direction} ${ip[20]}`
        if (name === 'in 8' || name === 'out 0') seen[name]++
      }
      assert.equal(capture.truncated, false)
    }
    assert(seen['in 8'] >= FLOOD + 3)
    assert.equal(seen['out 0'], seen['in 8'])
  })
}

function installed(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)))
}

/** The identities of src/net/counters.ts that do not hold. Exact where nothing is under way. */
function unbalanced(snapshot: Snapshot, kind: 'tun' | 'tap'): string[] {
  const count = (name: string) => sum(snapshot, name)
  const names = new Set(snapshot.counters.flatMap((counters) => Object.keys(counters)))
  const drops = (set: string) =>
    [...names].filter((name) => name.startsWith(`${set}.dropped`)).reduce((total, name) => total + count(name), 0)
  const both: readonly (readonly [string, number, number])[] = [
    ['ether', count('ether.received'), count('ether.ip') + count('ether.arp') + drops('ether')],
    ['device', count('device.received'), kind === 'tap' ? count('ether.received') : count('ip.received')],
    ['ip', count('ip.received') + count('ip.reassembled'), count('ip.delivered') + count('ip.fragments') + drops('ip')],
    [
      'reassembly',
      count('reassembly.fragments'),
      count('reassembly.reassembledFragments') + drops('reassembly') + count('reassembly.held'),
    ],
    ['udp', count('udp.received'), count('udp.delivered') + count('udp.noPort') + drops('udp')],
    ['delivered', count('ip.delivered'), count('udp.received') + count('icmp.received')],
    ['echo', count('socket.received'), count('echo.echoed') + count('echo.refused')],
    ['ipi', count('cpu.ipisSent'), count('cpu.ipisReceived')],
  ]
  return both.filter(([, a, b]) => a !== b).map(([name, a, b]) => `${name}: ${a} and ${b}`)
}

// The parts, each in a process of its own inside the namespace.

/** Datagrams of many sizes, each echoed before the next is sent. */
async function exchange() {
  const socket = createSocket('udp4')
  socket.connect(7, HOST)
  await new Promise((resolve) => socket.once('connect', resolve))
  const around = [0, 8, 64, 512, 1024, 1472, 1480, 1500, 2048, 2952, 2960, 4096, 5912, 7400, 8000]
  const sizes = [...new Set(around.flatMap((size) => [size - 1, size, size + 1, size + 7, size ^ 21]))]
  for (const size of sizes.filter((size) => size >= 0 && size <= 8000)) {
    const question = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) & 255))
    const answer = await new Promise<Buffer>((resolve) => {
      socket.once('message', resolve)
      socket.send(question)
    })
    assert.deepEqual(answer, question)
  }
  socket.close()
  return { sizes: sizes.length }
}

/** Asks a port where nobody is, again when an answer was held back by the limit of ICMP errors. */
async function refused() {
  const socket = createSocket('udp4')
  socket.connect(9, HOST)
  await new Promise((resolve) => socket.once('connect', resolve))
  const timer = setInterval(() => socket.send('anybody?', () => {}), 100)
  const error = await new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve))
  clearInterval(timer)
  socket.close()
  return { code: error.code }
}

/** Sends packets that are wrong, each in a way of its own; answers what they must be counted as, and how often. */
function hostile(target: string) {
  const send = packetSocket('df0', target)
  const counted: { [name: string]: number } = {}
  const expect = (name: string, count = 1) => {
    counted[name] = (counted[name] ?? 0) + count
  }

  const badSum = datagram({ payload: 20 })
  badSum[10]! ^= 0x55
  send(badSum)
  expect('ip.droppedChecksum')

  const badUdpSum = datagram({ payload: 20 })
  badUdpSum[26]! ^= 0x55
  send(badUdpSum)
  expect('udp.droppedChecksum')

  send(datagram({ payload: 32, identification: 77, offset: 0, more: true }))
  send(datagram({ payload: 32, identification: 77, offset: 24, more: false }))
  expect('reassembly.droppedOverlap', 2)

  send(datagram({ payload: 20 }).subarray(0, 5))
  expect('ip.droppedShort')

  const longer = datagram({ payload: 20 })
  send(longer.subarray(0, longer.length - 6))
  expect('ip.droppedTruncated')

  const version = datagram({ payload: 20 })
  version[0] = 0x75
  send(version)
  expect('ip.droppedVersion')

  const elsewhere = datagram({ payload: 20, target: '10.99.0.1' })
  send(elsewhere)
  expect('ip.droppedNotOurs')

  const loopback = datagram({ payload: 20, source: '127.0.0.1' })
  send(loopback)
  expect('ip.droppedSource')

  if (target === '') return counted
  // Linux itself sends no frame that is shorter than its header: 14 bytes are the least.
  send(new Uint8Array(0))
  expect('ip.droppedShort')
  const good = datagram({ payload: 20 })
  send(good, etherHeader(target, '02:00:00:00:00:99', 0x88b5))
  expect('ether.droppedUnknownType')
  send(good, etherHeader(target, '02:00:00:00:00:99', 48))
  expect('ether.droppedType')
  send(good, etherHeader(target, '03:00:00:00:00:99', ETH_P_IP))
  send(good, etherHeader(target, target, ETH_P_IP))
  expect('ether.droppedSource', 2)
  send(good, etherHeader('02:00:00:00:00:98', '02:00:00:00:00:99', ETH_P_IP))
  expect('ether.droppedNotOurs')
  return counted
}

interface DatagramOptions {
  /** Bytes behind the UDP header, or, of a later fragment, behind the IP header. */
  readonly payload: number
  readonly identification?: number
  readonly offset?: number
  readonly more?: boolean
  readonly source?: string
  readonly target?: string
}

/** A UDP datagram, or a fragment of one, to the host's echo port, with the sums that belong to it. */
function datagram(options: DatagramOptions): Uint8Array<ArrayBuffer> {
  const { payload, identification = 1, offset = 0, more = false, source = KERNEL, target = HOST } = options
  const first = offset === 0
  const bytes = new Uint8Array(new ArrayBuffer(20 + (first ? 8 : 0) + payload))
  const view = new DataView(bytes.buffer)
  bytes[0] = 0x45
  view.setUint16(2, bytes.length)
  view.setUint16(4, identification)
  view.setUint16(6, (more ? 0x2000 : 0) | (offset >> 3))
  bytes[8] = 64
  bytes[9] = 17
  bytes.set(source.split('.').map(Number), 12)
  bytes.set(target.split('.').map(Number), 16)
  view.setUint16(10, ~sumOf(bytes.subarray(0, 20)) & 0xffff)
  if (!first) return bytes
  view.setUint16(20, 40_000)
  view.setUint16(22, 7)
  view.setUint16(24, bytes.length - 20)
  const pseudo = new Uint8Array(12)
  pseudo.set(bytes.subarray(12, 20))
  pseudo.set([0, 17, bytes[24]!, bytes[25]!], 8)
  view.setUint16(26, ~sumOf(Uint8Array.from([...pseudo, ...bytes.subarray(20)])) & 0xffff)
  return bytes
}

/** RFC 1071, as slowly as it reads: nothing of the stack's own is used to test it. */
function sumOf(bytes: Uint8Array): number {
  let total = 0
  for (let i = 0; i < bytes.length; i += 2) total += bytes[i]! * 256 + (bytes[i + 1] ?? 0)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

/** Sends packets out of an interface as they are (packet(7)); on Ethernet behind a header to `target`, or another one. */
function packetSocket(
  name: string,
  target: string,
): (bytes: Uint8Array<ArrayBuffer>, header?: readonly number[]) => void {
  const AF_PACKET = 17
  const SOCK_RAW = 3
  const system = libc()
  const sendto = system.declare('int64_t sendto(int, uintptr_t, uint64_t, int, uintptr_t, unsigned int)')
  const indexOf = system.declare('unsigned int if_nametoindex(uintptr_t)')
  const text = new Uint8Array(new ArrayBuffer(16))
  text.set(new TextEncoder().encode(name))
  const index = indexOf(system.pointer(text))
  assert(index > 0)
  const socket = system.socket(AF_PACKET, SOCK_RAW, 0)
  assert(socket >= 0)
  // struct sockaddr_ll: family, be16 protocol, interface; the rest is for receiving.
  const address = new Uint8Array(new ArrayBuffer(20))
  const view = new DataView(address.buffer)
  view.setUint16(0, AF_PACKET, true)
  view.setUint16(2, ETH_P_IP)
  view.setInt32(4, index, true)
  const usual = target === '' ? [] : etherHeader(target, '02:00:00:00:00:99', ETH_P_IP)
  return (bytes, header = usual) => {
    const frame = Uint8Array.from([...header, ...bytes])
    const sent = sendto(socket, system.pointer(frame), frame.length, 0, system.pointer(address), address.length)
    assert.equal(sent, frame.length)
  }
}

function etherHeader(target: string, source: string, type: number): number[] {
  return [...hardware(target), ...hardware(source), type >> 8, type & 255]
}

function hardware(text: string): number[] {
  return text.split(':').map((byte) => Number.parseInt(byte, 16))
}
