import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Snapshot } from '../snapshot.ts'
import { type LiveOptions, live, type Screen } from './live.ts'
import { busySnapshot } from './testing/snapshot.ts'

const OPTIONS: LiveOptions = { seconds: 1, count: 0, json: false, pairs: false, order: undefined }

/** A screen that remembers, with a keyboard for the test. */
class Paper implements Screen {
  readonly size: Screen['size']
  readonly written: string[] = []
  press: (key: string) => void = () => assert.fail('nobody listens to keys')
  listening = false

  constructor(size?: Screen['size']) {
    this.size = size
  }

  write(text: string): void {
    this.written.push(text)
  }

  keys(onKey: (key: string) => void): () => void {
    this.listening = true
    this.press = onKey
    return () => {
      this.listening = false
    }
  }
}

/** A machine that delivers ten packets more for each second, and is asked every second. */
function machine(): () => Promise<Snapshot> {
  let seconds = 0
  return async () => {
    seconds++
    return busySnapshot({ atUs: seconds * 1e6, counters: [{ 'ip.delivered': seconds * 10 }, {}] })
  }
}

const atOnce = async () => {}
const blocks = (paper: Paper) => paper.written.filter((text) => text.includes('packets delivered'))

describe('the live tables', () => {
  test('print a block of rates for each interval where there is no terminal', async () => {
    const paper = new Paper()
    const pauses: number[] = []
    await live({ ...OPTIONS, seconds: 2, count: 2 }, machine(), paper, async (ms) => void pauses.push(ms))
    assert.deepEqual(pauses, [2000, 2000])
    assert.equal(paper.written.length, 2)
    for (const block of paper.written) {
      assert.match(block, /^two hosts \(process 5\), the last 1\.0 s\n\n10 packets delivered a second; /)
      assert.match(block, /\nWorkstreams\n/)
      assert(!block.includes('\x1b'))
    }
  })

  test('are rates, however long the interval was', async () => {
    const paper = new Paper()
    const times = [0, 4e6]
    const ask = async () => {
      const atUs = times.shift()!
      return busySnapshot({ atUs, counters: [{ 'ip.delivered': atUs / 1e4 }, {}] })
    }
    await live({ ...OPTIONS, count: 1 }, ask, paper, atOnce)
    assert.match(paper.written[0]!, /, the last 4\.0 s\n\n100 packets delivered a second/)
  })

  test('are a line of JSON for each interval when asked: what was counted in it', async () => {
    const paper = new Paper({ columns: 80, rows: 24 })
    await live({ ...OPTIONS, json: true, count: 3 }, machine(), paper, atOnce)
    const changes = paper.written.map((line) => {
      assert(line.endsWith('}\n') && line.indexOf('\n') === line.length - 1)
      return JSON.parse(line) as Snapshot
    })
    assert.deepEqual(
      changes.map(({ version, atUs, counters }) => [version, atUs, counters[0]]),
      [
        [1, 1e6, { 'ip.delivered': 10 }],
        [1, 1e6, { 'ip.delivered': 10 }],
        [1, 1e6, { 'ip.delivered': 10 }],
      ],
    )
  })

  test('are drawn over the last ones on a terminal, no wider and no higher than it', async () => {
    const paper = new Paper({ columns: 60, rows: 20 })
    await live({ ...OPTIONS, count: 1 }, machine(), paper, atOnce)
    const [hidden, drawn, shown] = paper.written
    assert.deepEqual([hidden, shown], ['\x1b[?25l', '\x1b[?25h'])
    assert(drawn!.startsWith('\x1b[H') && drawn!.endsWith('\x1b[J'))
    const rows = drawn!
      .slice(3, -3)
      .split('\r\n')
      .map((row) => row.replace('\x1b[K', ''))
    assert.equal(rows.length, 20)
    assert(Math.max(...rows.map((row) => row.length)) <= 60)
    assert.match(rows.at(-1)!, /^keys sort by: 1 len {2}2 watermark {2}3 direct /)
  })

  test('are sorted by the column of a key, at once; the same key turns them round, and 0 gives it up', async () => {
    const paper = new Paper({ columns: 300, rows: 100 })
    const shown = () => {
      const text = blocks(paper).at(-1)!
      const first = /\r\n(cpu \d {2}\w+)/.exec(text)?.[1]
      return `${/ (\w+)\*/.exec(text)?.[1] ?? 'none'}: ${first}`
    }
    const seen: string[] = []
    let pauses = 0
    await live({ ...OPTIONS, count: 2 }, machine(), paper, async () => {
      if (++pauses === 1) return
      for (const key of ['1', '1', '1', 'i', '0', '?', '\x00', 'z']) {
        const drawn = blocks(paper).length
        paper.press(key)
        seen.push(blocks(paper).length === drawn ? 'nothing' : shown())
      }
    })
    assert.deepEqual(seen, [
      'len: cpu 0  netisr',
      'len: cpu 1  rx',
      'len: cpu 0  netisr',
      'sleeps: cpu 0  all',
      'none: cpu 0  netisr',
      'nothing',
      'nothing',
      'nothing',
    ])
  })

  for (const key of ['q', '\x03']) {
    test(`end at ${JSON.stringify(key)}, with the terminal as it was`, async () => {
      const paper = new Paper({ columns: 80, rows: 24 })
      let asked = 0
      const ask = machine()
      const counting = () => {
        asked++
        return ask()
      }
      await live(OPTIONS, counting, paper, async (_ms, signal) => {
        if (asked < 3) return
        paper.press(key)
        assert(signal.aborted)
      })
      assert.equal(asked, 3)
      assert.equal(blocks(paper).length, 2)
      assert.equal(paper.listening, false)
      assert.equal(paper.written.at(-1), '\x1b[?25h')
    })
  }

  test('end with the error when the instance does, with the terminal as it was', async () => {
    const paper = new Paper({ columns: 80, rows: 24 })
    const ask = machine()
    let left = 2
    const dying = () => (left-- > 0 ? ask() : Promise.reject(new Error('no damselfly answers')))
    await assert.rejects(live(OPTIONS, dying, paper, atOnce), { message: 'no damselfly answers' })
    assert.equal(blocks(paper).length, 1)
    assert.equal(paper.listening, false)
    assert.equal(paper.written.at(-1), '\x1b[?25h')
  })
})
