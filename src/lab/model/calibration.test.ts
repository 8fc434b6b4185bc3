import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { DISCIPLINES } from '../../net/discipline.ts'
import { testCalibration } from '../testing/calibration.ts'
import {
  COST_NAMES,
  calibrationText,
  parseCalibration,
  readCalibration,
  workOf,
  writeCalibration,
} from './calibration.ts'
import { openCalibration } from './open.ts'
import { RECORDED } from './recorded.ts'

test('a calibration is read back as it was written', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'df-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'c.json')
  assert.equal(await readCalibration(path), undefined)
  await assert.rejects(openCalibration(path), /there is no calibration .*: make one by "damselfly calibrate"/)
  const calibration = testCalibration()
  await writeCalibration(path, calibration)
  assert.deepEqual(await readCalibration(path), calibration)
  assert.deepEqual(await openCalibration(path), calibration)
})

test('a file that is no whole calibration of this version is refused with a sentence, and left as it is', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'df-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'c.json')
  const text = calibrationText(testCalibration())
  const changed = (path: string, to?: unknown) => {
    const value: unknown = JSON.parse(text)
    const names = path.split('.')
    const last = names.pop()!
    const place = names.reduce((each, name) => (each as { [name: string]: unknown })[name], value)
    ;(place as { [name: string]: unknown })[last] = to
    return JSON.stringify(value)
  }
  const wrong: [string, RegExp][] = [
    [text.slice(0, -20), /c\.json is cut off, or is no JSON\. It was left as it is\./],
    ['', /is cut off, or is no JSON/],
    ['{"format":"other"}', /is no calibration/],
    ['[]', /is no calibration/],
    [text.replace('"version": 1', '"version": 7'), /is of version 7; this damselfly reads version 1/],
    [changed('costs.line'), /is damaged: the cost "line" is no number with its spread/],
    [changed('costs.lock.median', -1), /the cost "lock" is no number/],
    [changed('work', {}), /there is no work/],
    [changed('work.2.discipline', 'none'), /work\[2\]: it has no discipline/],
    [changed('work.0.holds.x', null), /work\[0\]: holds are no numbers/],
    [changed('work.1.sent', 'much'), /work\[1\]: turns, told, delivered or sent is no number/],
    [changed('date', 'yesterday'), /date is no time/],
    [changed('computer'), /there is no computer/],
  ]
  for (const [content, sentence] of wrong) {
    writeFileSync(path, content)
    await assert.rejects(readCalibration(path), sentence)
    assert.equal(readFileSync(path, 'utf8'), content)
  }
})

test('the recorded calibration is one, and has what the experiment asks for', () => {
  assert.deepEqual(parseCalibration('recorded', calibrationText(RECORDED)), RECORDED)
  for (const load of ['exchange', 'short']) {
    for (const discipline of DISCIPLINES) assert.ok(workOf(RECORDED, load, discipline).packet.median > 0)
  }
  for (const name of COST_NAMES) assert.ok(RECORDED.costs[name].median > 0, name)
  assert.throws(() => workOf(RECORDED, 'bulk-in', 'giant'), /has nothing of load "bulk-in" under giant/)
})
