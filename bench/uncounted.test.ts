import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { simulated } from './testing/simulated.ts'
import { strip, stripTree } from './uncounted.ts'

const dist = fileURLToPath(new URL('../', import.meta.url))
/** Below the repository, where the packages are found that the stack imports. */
const tree = new URL('../../dist-uncounted-test/', import.meta.url)

/** Those that stay because the stack decides by them, and what the load and its server count. */
const STAYS = /^(load queue|lab server)\.|^(reassembly\.held|cpu\.turns)$/

describe('the stack without its counting', () => {
  let removed = 0
  let bare = simulated
  before(async () => {
    removed = stripTree(dist, fileURLToPath(tree))
    const loaded = (await import(new URL('bench/testing/simulated.js', tree).href)) as { simulated: typeof simulated }
    bare = loaded.simulated
  })
  after(() => rmSync(tree, { recursive: true, force: true }))

  test('lacks some hundred statements', () => {
    assert(removed > 300, `${removed}`)
    assert.notEqual(bare, simulated)
  })

  for (const [discipline, workload, crossing] of [
    ['connp-t', 'exchange', 'ring'],
    ['connp-t', 'bulk-in', 'ring'],
    ['connp-t', 'short', 'ring'],
    ['connp-t', 'udp', 'ring'],
    ['connp-l', 'exchange', 'lock.count'],
    ['msgp', 'short', 'lock.count'],
  ] as const) {
    test(`does what the real one does, turn for turn, and counts nothing: ${workload} under ${discipline}`, () => {
      const [real, silent] = [simulated(discipline, workload), bare(discipline, workload)]
      assert(real.load.sent > 500, `${real.load.sent} packets`)
      assert(real.counted.includes(crossing) && real.counted.includes('cpu.busyUs'))
      assert.deepEqual(silent.load, real.load)
      assert.equal(silent.hash, real.hash)
      assert.deepEqual(
        silent.counted.filter((name) => !STAYS.test(name)),
        [],
      )
    })
  }
})

describe('what is taken out of a file', () => {
  const HEAD = 'const C = IpCounters.index\nconst SENT = K.messagesSent\n'
  const body = (text: string, name = 'net/ip/input.js') => strip(HEAD + text, name).text.slice(HEAD.length)

  test('is each update of a counter, however it is called', () => {
    for (const update of [
      'this.#count[C.received]++',
      'count[counter] += 2',
      't.group.count[SENT]--',
      'counts[C.received] = 7',
      'other[isWhole ? C.received : C.fragments]++',
      'f64[at + SENT]++',
      'count[DeviceCounters.index.received]++',
      'this.#tally.received++',
      'this.#sockets.tally.copiedIn += bytes',
      't.tally.sent--',
    ]) {
      assert.equal(body(`if (a) ${update}; else b()`), 'if (a) {} else b()', update)
    }
  })

  test('is what writes down what was tallied', () => {
    assert.equal(body('this.counterPage.fold()'), '{}')
    assert.equal(body('this.slab.fold()'), 'this.slab.fold()')
  })

  test('is what hand-offs and profiles of locks are told, but not what is done on the way', () => {
    assert.equal(body('this.#handoffs.served(this.#recordOf(a), count, true)'), '{}')
    assert.equal(body('cpu.handoffs.doorbell(record, ring(cpu))'), '{ring(cpu)}')
    assert.equal(body('cpu.locks.taken(this.address, kind, site)'), '{}')
    assert.equal(body('f64[(message >> 3) + QUEUED_AT] = cpu.now'), '{}')
    assert.equal(body('words[head] = message'), 'words[head] = message')
    assert.equal(body('this.#other.served(a)'), 'this.#other.served(a)')
  })

  test('can be one part of it', () => {
    const text = 'count[C.received]++;t.tally.sent++;cpu.handoffs.dropped(a);cpu.locks.taken(a, kind, site)'
    assert.equal(
      strip(text, 'a.js', ['handoffs']).text,
      'count[C.received]++;t.tally.sent++;{}cpu.locks.taken(a, kind, site)',
    )
    assert.equal(strip(text, 'a.js', ['locks']).places, 1)
    assert.equal(strip(text, 'a.js', ['counters']).places, 2)
    assert.equal(strip(text, 'a.js', []).text, text)
  })

  test('is not what the stack decides by; and whoever decides by another count is found', () => {
    const head = 'const C = TcpCounters.index\nconst R = ReassemblyCounters.index\n'
    assert.equal(strip(`${head}t.count[R.held]++`, 'a.js').places, 0)
    assert.equal(strip(`${head}if (t.count[R.held] > 1) evict()`, 'a.js').places, 0)
    assert.throws(() => strip(`${head}if (t.count[C.opened] > 1) refuse()`, 'a.js'), /a count is read: t.count/)
    assert.throws(() => strip(`${head}if (t.tally.sent > 1) flush()`, 'a.js'), /a count is read: t.tally.sent/)
    assert.throws(() => strip(`${head}const number = t.tally.sent++`, 'a.js'), /within a larger expression/)
    assert.throws(() => strip(`${head}const number = t.count[C.opened]++`, 'a.js'), /within a larger expression/)
  })
})
