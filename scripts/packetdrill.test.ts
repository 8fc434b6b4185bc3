// The command that runs packetdrill scripts, on small folders.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('./packetdrill.js', import.meta.url))
const LIMIT_MS = 60_000

const PASS = '0 < icmp echo_request id 1\n+0 > icmp echo_reply id 1\n'
const FAIL = '0 < icmp echo_request id 1\n+0 > icmp echo_reply id 2\n'
const SKIP = '0 < icmp echo_request id 1\n+0 `reboot`\n'

function folder(t: TestContext, files: { readonly [name: string]: string }): string {
  const path = mkdtempSync(join(tmpdir(), 'damselfly-drill-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return path
}

function run(...argv: string[]) {
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: _1, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...argv], {
    encoding: 'utf8',
    env,
    timeout: LIMIT_MS,
  })
  return { status, stdout, stderr }
}

test('each script of a folder and those below it gets its line, and the totals theirs', (t) => {
  const path = folder(t, { 'b/fail.pkt': FAIL, 'a/pass.pkt': PASS, 'skip.pkt': SKIP, 'other.txt': 'no script' })
  const { status, stdout } = run(path)
  assert.equal(status, 1)
  assert.equal(
    stdout.replaceAll(/\d\.\d{6}/g, 'T'),
    `pass a/pass.pkt
FAIL b/fail.pkt:2: id is expected to be 2, and is 1
     script packet: T > icmp echo_reply id 2
     actual packet: T > (noecn) icmp echo_reply id 1
skip skip.pkt:2: the command is not supported: reboot
3 scripts: 1 pass, 1 skip, 1 fail
  skipped 1: the command is not supported: reboot
`,
  )
})

test('a script by itself can be run, and shown packet by packet', (t) => {
  const { status, stdout } = run(join(folder(t, { 'pass.pkt': PASS }), 'pass.pkt'), '--verbose')
  assert.equal(status, 0)
  assert.match(
    stdout,
    /pass pass.pkt\n +0.000000 < icmp echo_request id 1\n +0.0\d+ > \(noecn\) icmp echo_reply id 1\n/,
  )
})

test('scripts that are skipped do not fail the run', (t) => {
  assert.equal(run(folder(t, { 'skip.pkt': SKIP })).status, 0)
})

test('what is no folder of scripts is told in a sentence', (t) => {
  const told = (pattern: RegExp, ...argv: string[]) => {
    const { status, stdout, stderr } = run(...argv)
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, pattern)
  }
  told(/there is no .*nowhere: give a folder that has packetdrill scripts/, join(folder(t, {}), 'nowhere'))
  told(/no file in .* or below it ends in \.pkt: give a folder of scripts/, folder(t, { 'a.txt': '' }))
  told(/one folder at a time, not also b/, 'a', 'b')
  told(/Unknown option '--nothing'/, '--nothing')
})

test('the command tells how it is called', () => {
  const { status, stdout } = run('--help')
  assert.equal(status, 0)
  assert.match(stdout, /usage: npm run packetdrill -- \[FOLDER or FILE\]/)
})
