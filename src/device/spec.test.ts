import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { simulate } from '../kernel.ts'
import { CaptureQueue } from './capture.ts'
import { FaultQueue } from './fault.ts'
import { LoadQueue } from './load/queue.ts'
import { type DeviceSpec, deviceInfo, deviceRegions, openQueue, parseDevice } from './spec.ts'
import { WireQueue } from './wire.ts'

test('the names of a command line are what they say', () => {
  assert.deepEqual(parseDevice('tun:df0'), { kind: 'tun', name: 'df0' })
  assert.deepEqual(parseDevice('tap:df%d'), { kind: 'tap', name: 'df%d' })
  assert.deepEqual(parseDevice('loopback'), { kind: 'loopback' })
  assert.deepEqual(parseDevice('wire'), { kind: 'wire', name: 'wire0' })
  assert.deepEqual(parseDevice('wire:left'), { kind: 'wire', name: 'left' })
  assert.deepEqual(parseDevice('pcap:/tmp/a:b.pcap'), { kind: 'replay', path: '/tmp/a:b.pcap' })
})

test('anything else is refused with a sentence that says what is expected', () => {
  const refused = (text: string, message: RegExp) =>
    assert.throws(() => parseDevice(text), { code: 'EINVAL', message }, text)
  refused('', /tun:df0, tap:df1, loopback, wire, wire:name or pcap:file\.pcap/)
  refused('eth0', /"eth0" is not a device/)
  refused('TUN:df0', /expected tun:df0/)
  refused('tun', /tun:df0/)
  refused('tap:', /tap:df0/)
  refused('tun:a b', /1 to 15 characters/)
  refused('loopback:lo', /give loopback/)
  refused('wire:', /behind the colon/)
  refused('pcap:', /pcap:file\.pcap/)
})

test('a specification survives JSON, and each CPU opens its own queue of it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
  try {
    const wire = { name: 'w', a: [0, 1], b: [2] }
    const spec: DeviceSpec = {
      kind: 'capture',
      path: join(folder, 'w.pcapng'),
      of: { kind: 'fault', loss: 0.5, of: { kind: 'wire', wire, side: 'a' } },
    }
    const other: DeviceSpec = { kind: 'wire', wire, side: 'b' }
    const machine = simulate({ cpus: 4, seed: 1, regions: deviceRegions([spec, other]) })
    const copy = JSON.parse(JSON.stringify(spec)) as DeviceSpec
    const queues = machine.cpus.map((cpu) => openQueue(cpu, copy))
    assert(queues[0] instanceof CaptureQueue && queues[1] instanceof CaptureQueue)
    assert.deepEqual([queues[2], queues[3]], [undefined, undefined])
    assert(openQueue(machine.cpus[2]!, other) instanceof WireQueue)
    assert.deepEqual(queues[0].info, deviceInfo(spec))
    assert.deepEqual(queues[1].path, join(folder, 'w-1.pcapng'))
    assert.deepEqual(deviceInfo(spec).address!.slice(0, 2), [0x02, 0xdf])
    assert.notDeepEqual(deviceInfo(spec).address, deviceInfo(other).address)
    assert(openQueue(machine.cpus[0]!, { kind: 'fault', of: { kind: 'loopback', cpus: [0] } }) instanceof FaultQueue)
    for (const queue of queues) queue?.close()
    await machine.stop()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what a device offloads is a part of its specification, and faults take it away', () => {
  const both = { checksum: true, segmentation: true }
  const tun: DeviceSpec = { kind: 'tun', name: 'df0', descriptors: [3], cpus: [0], vnetHeader: true }
  const wire: DeviceSpec = { kind: 'wire', wire: { name: 'w', a: [0], b: [1], offload: true }, side: 'b' }
  for (const spec of [tun, wire]) {
    const copy = JSON.parse(JSON.stringify(spec)) as DeviceSpec
    assert.deepEqual(deviceInfo(copy).offload, both)
    assert.deepEqual(deviceInfo({ kind: 'capture', path: 'w.pcapng', of: copy }).offload, both)
    assert.equal('offload' in deviceInfo({ kind: 'fault', loss: 0.1, of: copy }), false)
  }
  assert.equal('offload' in deviceInfo({ ...tun, vnetHeader: false }), false)
})

test('a load is opened on its CPUs, over the region that its specification asks for', async () => {
  const load: DeviceSpec = {
    kind: 'load',
    name: 'l',
    cpus: [0, 2],
    workload: 'exchange',
    connections: 8,
    server: '10.0.0.1',
    port: 7,
  }
  const machine = simulate({ cpus: 3, seed: 1, regions: deviceRegions([load]) })
  const copy = JSON.parse(JSON.stringify(load)) as DeviceSpec
  const queues = machine.cpus.map((cpu) => openQueue(cpu, copy))
  assert(queues[0] instanceof LoadQueue && queues[2] instanceof LoadQueue)
  assert.equal(queues[1], undefined)
  assert.deepEqual(queues[0].info, deviceInfo(load))
  for (const queue of queues) queue?.close()
  await machine.stop()
})

test('devices say what they are without being opened', () => {
  const info = deviceInfo({ kind: 'tap', name: 'df1', descriptors: [3, 4], cpus: [0, 1], mtu: 1400 })
  assert.deepEqual([info.framing, info.mtu, info.cpus, info.address?.length], ['ethernet', 1400, [0, 1], 6])
  assert.equal(deviceInfo({ kind: 'tun', name: 'df0', descriptors: [3], cpus: [0] }).framing, 'ip')
  assert.equal(deviceInfo({ kind: 'loopback', cpus: [0] }).mtu, 65535)
  assert.throws(() => deviceInfo({ kind: 'tun', name: 'df0', descriptors: [3], cpus: [0, 1] }), {
    code: 'EINVAL',
    message: /open a queue for each CPU/,
  })
})
