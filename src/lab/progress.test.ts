import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProgressLine } from './progress.ts'
import type { Progress } from './run.ts'
import { fakeRun } from './testing/fake.ts'

const cell = { key: 'size=1', parameters: { size: 1 }, workload: 'fake' }
const at = (done: number, last?: Progress['last']): Progress => ({
  done,
  total: 20,
  leftMs: (20 - done) * 5000,
  next: done === 20 ? undefined : { experiment: 'sizes', cell, repetition: 0, seed: 1 },
  last,
})

function shown(isTTY: boolean, columns: number, steps: readonly Progress[]): string {
  let text = ''
  const line = new ProgressLine({
    isTTY,
    columns,
    write: (more: string) => {
      text += more
    },
  })
  for (const step of steps) line.show(step)
  return text
}

const all = Array.from({ length: 21 }, (_, i) => at(i))

test('on a terminal one line is written over again, never longer than the terminal is wide', () => {
  const text = shown(true, 30, all)
  assert.equal(text.split('\n').length, 2)
  const lines = text.trimEnd().split('\r\x1b[K').slice(1)
  assert.equal(lines.length, 21)
  assert.equal(lines[0], ' 0/20 runs, about 1 min 40 s ')
  for (const line of lines) assert.ok(line.length < 30, line)
  assert.equal(lines.at(-1), '20/20 runs, all done')
})

test('elsewhere there is a plain line now and then', () => {
  const lines = shown(false, 80, all).trimEnd().split('\n')
  assert.equal(lines[0], ' 0/20 runs, about 1 min 40 s left: sizes size=1')
  assert.equal(lines.at(-1), '20/20 runs, all done')
  assert.ok(lines.length >= 10 && lines.length <= 12, `${lines.length} lines`)
})

test('a failure is a line of its own', () => {
  const failed = at(1, fakeRun('size=1', 0, { error: 'it broke' }))
  assert.match(shown(false, 80, [at(0), failed]), /^sizes size=1 failed: it broke$/m)
  const text = shown(true, 80, [at(0), failed])
  assert.ok(text.includes('\r\x1b[Ksizes size=1 failed: it broke\n\r\x1b[K 1/20 runs'), text)
})
