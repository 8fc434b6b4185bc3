import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Claim } from './claim.ts'

let root: string
before(() => {
  root = mkdtempSync(join(tmpdir(), 'df-'))
})
after(() => rmSync(root, { recursive: true, force: true }))

test('a claim keeps others out until it is freed', () => {
  const path = join(root, 'one')
  const claim = new Claim(path)
  assert.throws(() => new Claim(path), { code: 'EBUSY', message: new RegExp(`process ${process.pid} measures`) })
  assert.equal(readFileSync(path, 'utf8'), `${process.pid}\n`)
  claim.free()
  assert.equal(existsSync(path), false)
  new Claim(path).free()
})

test('the claim of a process that is gone is nobody’s', () => {
  const path = join(root, 'two')
  const { pid } = spawnSync(process.execPath, ['--version'])
  for (const left of [`${pid}\n`, '', 'no number']) {
    writeFileSync(path, left)
    const claim = new Claim(path)
    assert.equal(readFileSync(path, 'utf8'), `${process.pid}\n`)
    claim.free()
  }
})
