// The runner of Node's tests as a command, on small trees of files in the shape of Node's.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makeTree } from './testnode/testing/tree.ts'

const MAIN = fileURLToPath(new URL('./test-node.js', import.meta.url))

const FILES = {
  'test-net-pass.js': "require('../common')",
  'test-net-fail.js': "throw new Error('as it must')",
  'test-net-skip.js': "console.log('1..0 # Skipped: no reason'); process.exit(0)",
  'test-net-cluster.js': "require('cluster')",
  'test-dgram-flags.js': '// Flags: --expose-gc\nglobalThis.gc()',
}

/** What a child gets of this process: not the test runner's own variables. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: _1, ...rest } = process.env
  return rest
}

/** The longest that a run of these small trees may take on a busy machine. */
const LIMIT_MS = 60_000

function run(...argv: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...argv], {
    encoding: 'utf8',
    env: environment(),
    timeout: LIMIT_MS,
  })
  return { status, stdout, stderr }
}

/** Runs, and gives what stands in the JSON, by file. */
function runForJson(t: TestContext, root: string, ...argv: string[]) {
  const path = join(makeTree(t, {}), 'results.json')
  const { status, stderr } = run(root, '--json', path, ...argv)
  const { files } = JSON.parse(readFileSync(path, 'utf8')) as {
    files: { file: string; verdict: string; kind: string; reason: string; baseline?: { kind: string } }[]
  }
  return { status, stderr, files: new Map(files.map((file) => [file.file, file])) }
}

test('files pass, fail and skip as Node counts it, with their flags', (t) => {
  const { status, files } = runForJson(t, makeTree(t, FILES), '--preload', 'none')
  assert.deepEqual(
    Object.fromEntries([...files].map(([file, { verdict, reason }]) => [file, `${verdict} ${reason}`.trim()])),
    {
      'test-net-cluster.js': 'skip processes of a cluster pass sockets of the kernel to each other',
      'test-net-fail.js': 'fail Error: as it must',
      'test-net-pass.js': 'pass',
      'test-net-skip.js': 'skip the test itself: no reason',
      'test-dgram-flags.js': 'pass',
    },
  )
  assert.equal(status, 1)
})

test('what fails on plain node too does not fail the run', (t) => {
  const { status, files } = runForJson(t, makeTree(t, FILES), '--preload', 'none', '--baseline')
  assert.equal(files.get('test-net-fail.js')!.verdict, 'kernel')
  assert.equal(files.get('test-net-pass.js')!.baseline!.kind, 'pass')
  assert.equal(status, 0)
})

test('the preload reaches a test and its children, with its variables, and plain node gets neither', (t) => {
  const root = makeTree(t, {
    'test-net-here.js': 'process.exit(globalThis.loaded === "none" ? 0 : 1)',
    'test-net-child.js': `
      const { status } = require('child_process').spawnSync(process.execPath, [__dirname + '/test-net-here.js'])
      process.exit(status)`,
    'preload.mjs': 'globalThis.loaded = process.env.DAMSELFLY_DEVICE',
  })
  const { files } = runForJson(t, root, '--preload', `${root}/test/parallel/preload.mjs`, '--baseline')
  for (const name of ['test-net-here.js', 'test-net-child.js']) {
    assert.equal(files.get(name)!.kind, 'pass', name)
    assert.equal(files.get(name)!.baseline!.kind, 'fail', name)
  }
})

test('a test runs as Node runs it: above the folder test, with a folder of its own to write to', (t) => {
  const root = makeTree(t, {
    'test-net-where.js': `
      const assert = require('assert')
      const path = require('path')
      assert.strictEqual(process.cwd(), path.resolve(__dirname, '../..'))
      assert.strictEqual(process.env.TEST_PARALLEL, '1')
      assert.ok(!process.env.NODE_TEST_DIR.startsWith(process.cwd()))
      require('fs').writeFileSync(path.join(process.env.NODE_TEST_DIR, process.env.TEST_SERIAL_ID), '')`,
  })
  const { status, stderr } = run(root, '--preload', 'none')
  assert.equal(status, 0, stderr)
  assert.deepEqual(readdirSync(root), ['test'])
})

test('a test that does not end is ended, with the children that it started', (t) => {
  // The child holds the test's output open: a run that comes to its end has ended the child too.
  const root = makeTree(t, {
    'test-net-hang.js': `
      const { spawn } = require('child_process')
      spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' })
      console.log('at one')
      setInterval(() => {}, 1000)`,
  })
  const { status, files } = runForJson(t, root, '--preload', 'none', '--timeout', '1')
  const { kind, reason } = files.get('test-net-hang.js')!
  assert.deepEqual({ status, kind, reason }, { status: 1, kind: 'timeout', reason: 'no end in time; it said: at one' })
})

test('a process that left the group of its test, and holds its output, holds nobody up', (t) => {
  const root = makeTree(t, {
    'test-net-daemon.js': `
      const { spawn } = require('child_process')
      const options = { stdio: 'inherit', detached: true }
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], options)
      child.unref()
      require('fs').writeFileSync(__dirname + '/pid', String(child.pid))`,
  })
  const { status } = run(root, '--preload', 'none')
  // It is still there: nobody but this test may end it.
  process.kill(Number(readFileSync(join(root, 'test/parallel/pid'), 'utf8')), 'SIGKILL')
  assert.equal(status, 0)
})

test('an interruption ends what runs, starts no more, and still tells what there is', async (t) => {
  const root = makeTree(t, {
    'test-net-a.js': '',
    'test-net-b.js': 'process.kill(process.ppid, "SIGINT"); setInterval(() => {}, 1000)',
    'test-net-c.js': '',
  })
  const argv = [MAIN, root, '--preload', 'none', '--jobs', '1']
  const child = spawn(process.execPath, argv, { env: environment(), timeout: LIMIT_MS })
  let stdout = ''
  child.stdout.on('data', (text) => {
    stdout += text
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  assert.equal(code, 130)
  assert.match(stdout, /^net +2 +1 +0 +0 +1 /m)
  assert.match(stdout, /test-net-b\.js: interrupted\n/)
  assert.match(stdout, /interrupted: 2 of 3 files were started/)
})

test('a list shows the flags, and what would be left out, and runs nothing', (t) => {
  const { status, stdout } = run(makeTree(t, FILES), '--list', '--only', 'cluster|flags')
  assert.equal(stdout, 'test-net-cluster.js  skip: cluster\ntest-dgram-flags.js --expose-gc\n')
  assert.equal(status, 0)
})

test('files that Node itself skips are skipped', (t) => {
  const root = makeTree(t, { ...FILES, 'parallel.status': '[true]\ntest-net-fail: SKIP\n' })
  const { status, files } = runForJson(t, root, '--preload', 'none')
  assert.equal(files.get('test-net-fail.js')!.reason, 'Node itself skips it here')
  assert.equal(status, 0)
})

test('a preload that is not there, and a choice of no file, are told before anything runs', (t) => {
  const root = makeTree(t, FILES)
  const missing = run(root, '--preload', '/nowhere/register.js')
  assert.match(missing.stderr, /there is no \/nowhere\/register\.js to preload: build it, or give --preload/)
  assert.equal(missing.status, 2)
  assert.match(run(root, '--preload', 'none', '--only', 'nothing').stderr, /no file matches/)
})
