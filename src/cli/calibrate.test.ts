// The command as a process: what it refuses. What it measures is tested where it is used, with costs that are given.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { Command, environment, MAIN } from '../../test/command.ts'

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'df-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

function run(t: TestContext, args: readonly string[]) {
  const child = spawn(process.execPath, ['--enable-source-maps', MAIN, ...args], { cwd: folder, env: environment({}) })
  t.after(() => child.kill('SIGKILL'))
  return new Command(child).ended
}

describe('damselfly calibrate', { concurrency: 2 }, () => {
  for (const [name, content, sentence] of [
    ['a foreign file', 'Dear all', /letter0\.txt is cut off, or is no JSON\. It was left as it is\./],
    ['a file of another kind', '{"format":"damselfly-lab-plan"}', /letter1\.txt is no calibration\. It was left/],
    ['a damaged one', '{"format":"damselfly-calibration","version":1}', /letter2\.txt is damaged: date is no time\./],
  ] as const) {
    test(`does not replace ${name}, and says so before it measures anything`, async (t) => {
      const path = join(folder, /letter\d/.exec(String(sentence))![0].concat('.txt'))
      writeFileSync(path, content)
      const { code, stdout, stderr } = await run(t, ['calibrate', '--out', path])
      assert.equal(code, 1, stderr)
      assert.equal(stdout, '')
      assert.match(stderr, sentence)
      assert.equal(stderr.trimEnd().split('\n').length, 1)
      assert.equal(readFileSync(path, 'utf8'), content)
    })
  }

  for (const [args, sentence] of [
    [['--seconds', '0'], /--seconds is "0": give a number from 0\.05 to 60/],
    [['--seconds', 'long'], /--seconds is "long"/],
    [['--out', ''], /--out is empty: give a path/],
    [['--loud'], /Unknown option '--loud'/],
  ] as const) {
    test(`refuses ${args.join(' ')} with the usage`, async (t) => {
      const { code, stdout, stderr } = await run(t, ['calibrate', ...args])
      assert.equal(code, 2)
      assert.equal(stdout, '')
      assert.match(stderr, sentence)
      assert.match(stderr, /damselfly calibrate \[options\]/)
    })
  }

  test('the laboratory refuses a calibration that is not there, or is none, and leaves nothing behind', async (t) => {
    const out = join(folder, 'out')
    const path = join(folder, 'none.json')
    const missing = await run(t, ['lab', 'scaling', '--calibration', path, '--out', out])
    assert.equal(missing.code, 1)
    assert.match(missing.stderr, /there is no calibration .*none\.json/)
    writeFileSync(path, '{}')
    const foreign = await run(t, ['lab', 'scaling', '--calibration', path, '--out', out])
    assert.equal(foreign.code, 1)
    assert.match(foreign.stderr, /none\.json is no calibration/)
    assert.equal(existsSync(out), false)
  })
})
