// The test of a real device starts this file a second time, inside a network namespace, with the part to play.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { Errno, KernelError } from '../../base/errno.ts'
import { available, inNamespace, type Namespace, output } from '../../lab/tun/namespace.ts'
import { configureInterface, interfaceHardwareAddress, interfaceMtu } from './interface.ts'
import { type Libc, libc, libcUnavailable } from './library.ts'
import { Poller } from './poll.ts'
import { Offload, openTun, setOffload, type TunHandle } from './tun.ts'

const self = fileURLToPath(import.meta.url)
const PINGS = 3
/** A part that hears nothing ends by itself after this. */
const PART_MS = 10_000

const parts: Record<string, () => unknown> = {
  answerPings,
  openTwice,
  openAsWell,
  readTap,
  kinds,
  openAlone,
}
const part = parts[process.argv[2] ?? '']
if (part === undefined) tests()
else console.log(JSON.stringify(part()))

function tests(): void {
  const skip = libcUnavailable() ?? available('ping', 'setpriv')

  test('a device of two queues answers the pings of the kernel', { skip }, async () => {
    await inNamespace('ping', async (namespace) => {
      const child = start(namespace, 'answerPings')
      const ended = output(child, 2 * PART_MS)
      await new Promise((resolve) => child.stdout!.once('data', resolve))
      const ping = output(namespace.spawn('ping', ['-c', `${PINGS}`, '-i', '0.2', '-W', '3', '10.77.0.2']), PART_MS)
      const [printed, answer] = await Promise.all([ping, ended])
      assert.match(printed, / 0% packet loss/)
      const { name, queues, answered, mtu, before, during, after } = JSON.parse(answer.split('\n')[1]!)
      assert.deepEqual({ name, queues, answered, mtu }, { name: 'df0', queues: 2, answered: PINGS, mtu: 1400 })
      assert.equal(during, before + 2)
      assert.equal(after, before)
    })
  })

  test('a device of one queue is not opened twice', { skip }, async () => {
    await inNamespace('twice', async (namespace) => {
      const { error, open } = await play(namespace, 'openTwice')
      assert.equal(error.code, 'EBUSY')
      assert.match(error.message, /df0 is in use by another process/)
      assert.equal(open.after, open.before)
    })
  })

  test('a device of another kind is not taken for this one', { skip }, async () => {
    await inNamespace('kind', async (namespace) => {
      const { error, open } = await play(namespace, 'openAsWell')
      assert.equal(error.code, 'EINVAL')
      assert.match(error.message, /df0 exists, and is not a tap device of several queues/)
      assert.equal(open.after, open.before)
    })
  })

  test('a pattern has the kernel choose the number', { skip }, async () => {
    await inNamespace('pattern', async (namespace) => {
      assert.deepEqual(await play(namespace, 'kinds'), { names: ['df0', 'df1'], offload: 'EINVAL' })
    })
  })

  test('a TAP device has an Ethernet address and gives whole frames', { skip }, async () => {
    await inNamespace('tap', async (namespace) => {
      const { hardwareAddress, source, bytes } = await play(namespace, 'readTap')
      assert.equal(hardwareAddress.length, 6)
      assert.notDeepEqual(hardwareAddress, [0, 0, 0, 0, 0, 0])
      assert.deepEqual(source, hardwareAddress)
      assert(bytes >= 14)
    })
  })

  test('a user without CAP_NET_ADMIN is told how to get a device', { skip }, async () => {
    await inNamespace('right', async (namespace) => {
      const { error, open } = await play(namespace, 'openAlone', ['setpriv', '--bounding-set', '-net_admin'])
      assert.equal(error.code, 'EPERM')
      assert.match(error.message, /run as root.*setcap cap_net_admin\+ep.*ip tuntap add dev df0 mode tun user \$USER/)
      assert.equal(open.after, open.before)
    })
  })

  test('a name or a number of queues that cannot be is refused before anything is opened', () => {
    const system: Partial<Libc> = { open: () => assert.fail('opened') }
    const refused = (name: string, queues: number, message: RegExp) =>
      assert.throws(() => openTun({ name, kind: 'tun', queues }, system as Libc), { code: 'EINVAL', message })
    refused('', 1, /1 to 15 characters/)
    refused('a b', 1, /1 to 15 characters/)
    refused('fifteen-letters%d', 1, /1 to 15 characters/)
    refused('df%d%d', 1, /one %d/)
    refused('df%s', 1, /one %d/)
    refused('df0', 0, /1 to 256 queues/)
    refused('df0', 257, /1 to 256 queues/)
    refused('df0', 1.5, /1 to 256 queues/)
  })

  test('whichever step fails, everything is closed again', () => {
    const queues = fc.integer({ min: 1, max: 8 })
    const errno = fc.constantFrom(...Object.values(Errno))
    fc.assert(
      fc.property(queues, fc.nat(), fc.boolean(), errno, (count, which, atOpen, number) => {
        const { system, opened } = fake(which % count, atOpen, number)
        assert.throws(() => openTun({ name: 'df0', kind: 'tun', queues: count }, system), KernelError)
        assert.deepEqual([...opened], [])
      }),
      { seed: 20, numRuns: 200 },
    )
  })

  test('a missing device file is ENODEV, with the way to get one', () => {
    for (const errno of [Errno.ENOENT, Errno.ENODEV, Errno.ENXIO]) {
      const { system } = fake(0, true, errno)
      assert.throws(() => openTun({ name: 'df0', kind: 'tun', queues: 1 }, system), {
        code: 'ENODEV',
        syscall: 'open',
        message: /modprobe tun.*--device \/dev\/net\/tun/,
      })
    }
  })

  test('a device file that may not be opened is EACCES, with the way to open it', () => {
    const { system } = fake(0, true, Errno.EACCES)
    assert.throws(() => openTun({ name: 'df0', kind: 'tun', queues: 1 }, system), {
      code: 'EACCES',
      message: /run as root.*chmod 666/,
    })
  })

  test('the way to make a device fits the queues that are asked for', () => {
    const { system } = fake(0, false, Errno.EPERM)
    assert.throws(() => openTun({ name: 'df0', kind: 'tap', queues: 2, vnetHeader: true }, system), {
      message: /ip tuntap add dev df0 mode tap user \$USER multi_queue vnet_hdr\)/,
    })
  })

  test('with a virtio_net_hdr the kernel is told what it may leave to us, once, and never without', () => {
    for (const vnetHeader of [true, false]) {
      const { system, ioctls } = fake(-1, false, 0)
      openTun({ name: 'df0', kind: 'tun', queues: 2, vnetHeader }, system)
      const TUNSETOFFLOAD = 0x400454d0
      const offloads = ioctls.filter(({ request }) => request === TUNSETOFFLOAD)
      const expected = { descriptor: 10, request: TUNSETOFFLOAD, argument: Offload.checksum | Offload.tcp4 }
      assert.deepEqual(offloads, vnetHeader ? [expected] : [])
    }
  })

  test('a kernel that does not take the offloads leaves nothing open', () => {
    const { system, opened } = fake(-1, false, 0)
    const ioctl = (_: number, request: number) => (request === 0x400454d0 ? -Errno.EINVAL : 0)
    const open = () => openTun({ name: 'df0', kind: 'tun', queues: 2, vnetHeader: true }, { ...system, ioctl })
    assert.throws(open, { code: 'EINVAL', message: /offloads 0x3/ })
    assert.deepEqual([...opened], [])
  })

  test('closing twice closes once', () => {
    const { system, opened, closes } = fake(-1, false, 0)
    const device = openTun({ name: 'df0', kind: 'tun', queues: 3 }, system)
    assert.equal(device.descriptors.length, 3)
    device.close()
    device.close()
    assert.deepEqual([...opened], [])
    assert.equal(closes.length, 3)
  })
}

/** An operating system whose `failing`th open or ioctl fails. */
function fake(failing: number, atOpen: boolean, errno: number) {
  const opened = new Set<number>()
  const closes: number[] = []
  const ioctls: { descriptor: number; request: number; argument: number }[] = []
  let next = 10
  const system: Partial<Libc> = {
    open: () => {
      if (atOpen && next - 10 === failing) return -errno
      opened.add(next)
      return next++
    },
    ioctl: (descriptor, request, argument) => {
      ioctls.push({ descriptor, request, argument })
      return !atOpen && descriptor - 10 === failing ? -errno : 0
    },
    close: (descriptor) => {
      assert(opened.delete(descriptor), 'only what is open is closed')
      closes.push(descriptor)
      return 0
    },
    pointer: () => 4096,
  }
  return { system: system as Libc, opened, closes, ioctls }
}

function start(namespace: Namespace, name: string, prefix: readonly string[] = []) {
  const [command = '', ...rest] = [...prefix, process.execPath, self, name]
  return namespace.spawn(command, rest)
}

async function play(namespace: Namespace, name: string, prefix: readonly string[] = []) {
  return JSON.parse(await output(start(namespace, name, prefix), 2 * PART_MS))
}

// The parts, each in a process of its own inside a namespace.

function answerPings() {
  const system = libc()
  const before = openFiles()
  const device = openTun({ name: 'df0', kind: 'tun', queues: 2 })
  configureInterface('df0', { address: '10.77.0.1/24', mtu: 1400, queueLength: 1234, up: true })
  assert.equal(readFileSync('/sys/class/net/df0/tx_queue_len', 'utf8').trim(), '1234')
  const mtu = interfaceMtu('df0')
  const during = openFiles()
  console.log('ready')

  const packet = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer)
  const pointer = system.pointer(packet)
  const poller = new Poller(2)
  const slots = device.descriptors.map((descriptor) => poller.add(descriptor))
  const endMs = performance.now() + PART_MS
  let answered = 0
  while (answered < PINGS && performance.now() < endMs) {
    assert(poller.wait(100) >= 0)
    for (const [queue, descriptor] of device.descriptors.entries()) {
      if (!poller.readable(slots[queue]!)) continue
      const bytes = system.read(descriptor, pointer, packet.length)
      if (bytes <= 0 || !turnEcho(packet)) continue
      assert.equal(system.write(descriptor, pointer, bytes), bytes)
      answered++
    }
  }
  device.close()
  return { name: device.name, queues: device.descriptors.length, answered, mtu, before, during, after: openFiles() }
}

/** Makes an ICMP echo request (IPv4 without options) its reply, and says whether it was one. */
function turnEcho(packet: Uint8Array): boolean {
  if (packet[0] !== 0x45 || packet[9] !== 1 || packet[20] !== 8) return false
  const source = packet.slice(12, 16)
  packet.copyWithin(12, 16, 20)
  packet.set(source, 16)
  packet[20] = 0
  // RFC 1624: the word fell by 0x0800, so its checksum rises by that.
  const sum = ((packet[22]! << 8) | packet[23]!) + 0x0800
  const folded = (sum & 0xffff) + (sum >>> 16)
  packet[22] = folded >>> 8
  packet[23] = folded & 0xff
  return true
}

function openTwice() {
  const device = openTun({ name: 'df0', kind: 'tun', queues: 1 })
  return refusal(device, () => openTun({ name: 'df0', kind: 'tun', queues: 1 }))
}

function openAsWell() {
  const device = openTun({ name: 'df0', kind: 'tun', queues: 2 })
  return refusal(device, () => openTun({ name: 'df0', kind: 'tap', queues: 2 }))
}

function openAlone() {
  libc()
  return refusal(undefined, () => openTun({ name: 'df0', kind: 'tun', queues: 2 }))
}

function refusal(device: TunHandle | undefined, body: () => void) {
  const before = openFiles()
  try {
    body()
    return { error: {}, open: { before, after: openFiles() } }
  } catch (error) {
    const { code, message } = error as KernelError
    return { error: { code, message }, open: { before, after: openFiles() } }
  } finally {
    device?.close()
  }
}

function readTap() {
  const system = libc()
  const device = openTun({ name: 'df0', kind: 'tap', queues: 1, vnetHeader: true })
  setOffload(device.descriptors[0]!, Offload.checksum | Offload.tcp4 | Offload.tcp6)
  configureInterface('df0', { address: '10.77.0.1/24', up: true })
  const hardwareAddress = [...interfaceHardwareAddress('df0')]
  // Somebody whom nobody knows: the kernel asks for his Ethernet address, if it says nothing else before.
  spawn('ping', ['-c', '1', '-W', '1', '10.77.0.9'], { stdio: 'ignore' })
  const frame = new Uint8Array(new ArrayBuffer(65536))
  const poller = new Poller(1)
  poller.add(device.descriptors[0]!)
  assert.equal(poller.wait(PART_MS), 1)
  const bytes = system.read(device.descriptors[0]!, system.pointer(frame), frame.length) - 10
  device.close()
  return { hardwareAddress, source: [...frame.subarray(16, 22)], bytes }
}

function kinds() {
  const first = openTun({ name: 'df%d', kind: 'tun', queues: 2 })
  const second = openTun({ name: 'df%d', kind: 'tap', queues: 1 })
  const names = [first.name, second.name]
  let offload: string | undefined
  try {
    setOffload(first.descriptors[0]!, 0x4000_0000)
  } catch (error) {
    offload = (error as KernelError).code
  }
  first.close()
  second.close()
  return { names, offload }
}

function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}
