import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulate } from '../../kernel.ts'
import { type LoadOptions, loadInfo, loadPlan } from './options.ts'
import { LoadQueue } from './queue.ts'
import { readLoad } from './reading.ts'
import { loadRegions } from './region.ts'

const load: LoadOptions = {
  name: 'l',
  cpus: [0],
  workload: 'exchange',
  connections: 4,
  server: '10.0.0.1',
  port: 7,
}

test('what cannot be is refused with a sentence that says what to give', () => {
  const refused = (change: object, message: RegExp) =>
    assert.throws(() => loadPlan({ ...load, ...change } as LoadOptions), { code: 'EINVAL', message })
  refused({ cpus: [] }, /give those of the host, each once/)
  refused({ cpus: [1, 1] }, /each once/)
  refused({ connections: 0 }, /connections is 0: give a whole number from 1 to 16384/)
  refused({ connections: 16385 }, /from 1 to 16384/)
  refused({ port: 65536 }, /port is 65536/)
  refused({ mtu: 9000 }, /mtu is 9000/)
  refused({ server: '10.0.0' }, /"10\.0\.0" is no IPv4 address/)
  refused({ clients: '10.0.0.256' }, /no IPv4 address/)
  refused({ clients: '10.1.0.1' }, /multiple of 64/)
  refused({ clients: '10.0.0.0', connections: 300 }, /the server has an address of a client/)
  refused({ workload: 'flood' }, /give exchange, bulk-in, bulk-out, short or udp/)
  refused({ bytes: 1461 }, /from 1 to 1460/)
  refused({ workload: 'udp', bytes: 7 }, /from 8 to 1472/)
  refused({ wrong: 1.5 }, /a share from 0 to 1/)
  refused({ workload: 'bulk-in', offered: 5 }, /leave out `offered`/)
  refused({ question: 'x'.repeat(1461) }, /bytes is 1461/)
  refused({ answerBytes: 0 }, /answerBytes is 0/)
  refused({ workload: 'udp', question: 'how are you?' }, /a udp load has no `question`/)
})

test('the window is scaled as far as it needs to be', () => {
  assert.equal(loadPlan({ ...load, windowBytes: 65535 }).windowShift, 0)
  assert.equal(loadPlan({ ...load, windowBytes: 65536 }).windowShift, 1)
  assert.equal(loadPlan(load).windowShift, 3)
})

test('the device says what it is', () => {
  assert.deepEqual(loadInfo(load), { name: 'l', framing: 'ip', mtu: 1500, cpus: [0] })
  assert.deepEqual(loadInfo({ ...load, offload: true }).offload, { checksum: true, segmentation: true })
})

test('a queue is not opened without its region, with one that is too small, or on another CPU', async () => {
  const message = /ask for it by loadRegions/
  const without = simulate({ cpus: 1, seed: 1 })
  assert.throws(() => new LoadQueue(without.cpus[0]!, load), { code: 'ENOENT' })
  assert.throws(() => readLoad(without.memory, load), { code: 'ENOENT' })
  const small = simulate({ cpus: 1, seed: 1, regions: loadRegions(load) })
  assert.throws(() => new LoadQueue(small.cpus[0]!, { ...load, connections: 4000 }), { code: 'EINVAL', message })
  assert.throws(() => new LoadQueue(small.cpus[0]!, { ...load, cpus: [1] }), { code: 'EINVAL', message: /no queue/ })
  await Promise.all([without.stop(), small.stop()])
})
