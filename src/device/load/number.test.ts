import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Family } from '../../net/address.ts'
import { flowHash } from '../../net/toeplitz.ts'
import { clientOf, firstPortOf, numberOf, PORTS, portAfter } from './number.ts'
import { LOAD_CONNECTIONS_MAX, loadPlan } from './options.ts'

const plan = loadPlan({
  name: 'l',
  cpus: [0],
  workload: 'short',
  connections: LOAD_CONNECTIONS_MAX,
  server: '10.0.0.1',
  port: 7,
})

test('a connection is found again by its address and by each of its ports', () => {
  for (let number = 0; number < LOAD_CONNECTIONS_MAX; number += 37) {
    const ports = new Set<number>()
    for (let port = firstPortOf(number); !ports.has(port); port = portAfter(port)) {
      assert(port >= 1024 && port < 65536)
      assert.equal(numberOf(plan.clients, LOAD_CONNECTIONS_MAX, clientOf(plan, number), port), number)
      ports.add(port)
    }
    assert.equal(ports.size, PORTS)
  }
})

test('nobody else is taken for a client', () => {
  const find = (client: number, port: number) => numberOf(plan.clients, 300, client | 0, port)
  assert.equal(find(plan.clients, 1023), -1)
  assert.equal(find(plan.clients - 1, 20000), -1)
  assert.equal(find(plan.clients + 64, 20000), -1)
  assert.equal(find(plan.clients + 1, 20000 - (20000 & 255) + 44), -1, 'the 301st of 300')
  assert.equal(find(plan.clients + 1, 20000 - (20000 & 255) + 43), 299)
  assert.equal(find(0xffffffff, 20000), -1)
})

test('at first no two connections have the same flow hash', () => {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint32(4, plan.server)
  const hashes = new Set<number>()
  for (let number = 0; number < LOAD_CONNECTIONS_MAX; number++) {
    view.setInt32(0, clientOf(plan, number))
    hashes.add(flowHash(bytes, Family.inet, 0, 4, firstPortOf(number), plan.port))
  }
  assert.equal(hashes.size, LOAD_CONNECTIONS_MAX)
})
