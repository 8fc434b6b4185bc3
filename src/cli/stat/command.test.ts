// The command as its users see it, against an instance that is this process: its control socket, and made-up counts.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { serveControl } from '../control.ts'
import type { Snapshot } from '../snapshot.ts'
import { busySnapshot } from './testing/snapshot.ts'

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

class Stat {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ''
  stderr = ''
  #more: () => void = () => {}

  constructor(t: TestContext, args: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, 'stat', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    t.after(() => this.child.kill('SIGKILL'))
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
      this.#more()
    })
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = once(this.child, 'close').then(([code]) => {
      this.#more()
      return { code: code as number | null, stdout: this.stdout, stderr: this.stderr }
    })
  }

  /** Resolves when it has printed this, or has ended. */
  async until(printed: RegExp): Promise<void> {
    while (!printed.test(this.stdout) && this.child.exitCode === null) {
      await new Promise<void>((resolve) => {
        this.#more = resolve
      })
    }
    assert.match(this.stdout, printed, this.stderr)
  }
}

describe('damselfly stat', { skip: process.platform === 'win32' && 'UNIX sockets' }, () => {
  let root: string
  const variable = process.env.XDG_RUNTIME_DIR
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'df-'))
    process.env.XDG_RUNTIME_DIR = root
  })
  after(() => {
    rmSync(root, { recursive: true, force: true })
    if (variable === undefined) delete process.env.XDG_RUNTIME_DIR
    else process.env.XDG_RUNTIME_DIR = variable
  })

  /** This process is an instance until the test ends, or `close` is called. */
  async function instance(t: TestContext): Promise<Server> {
    let seconds = 0
    const server = await serveControl({
      snapshot: () => busySnapshot({ pid: process.pid, atUs: ++seconds * 1e6 }),
      order: () => Promise.reject(new Error('no orders')),
    })
    t.after(() => close(server))
    return server
  }
  const close = (server: Server) => new Promise<void>((resolve) => server.close(() => resolve()))

  test('without an instance is a sentence that says what to do, in every mode that needs one', async (t) => {
    for (const args of [[], ['--json'], ['--live']]) {
      const { code, stdout, stderr } = await new Stat(t, args).ended
      assert.deepEqual([code, stdout, stderr], [1, '', 'damselfly: no damselfly runs: start one by "damselfly up"\n'])
    }
  })

  test('with wrong words is their sentence and the usage, and exit code 2', async (t) => {
    const { code, stdout, stderr } = await new Stat(t, ['--sort', 'x']).ended
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /^damselfly: --sort is "x": give one of len, .*\n\ndamselfly: a multi-core/)
  })

  test('shows an instance once: tables, or one JSON document', async (t) => {
    await instance(t)
    const tables = await new Stat(t, ['--sort', 'queued']).ended
    assert.deepEqual([tables.code, tables.stderr], [0, ''])
    assert.match(tables.stdout, /^two hosts \(process \d+\), since boot \d+\.0 s ago\n\n1 000 packets delivered, /)
    assert.match(tables.stdout, /\nWorkstreams\n.* queued\* .*\ncpu 1 {2}rx /)
    const json = await new Stat(t, ['--json']).ended
    assert.equal((JSON.parse(json.stdout) as Snapshot).discipline, 'connp-l')
  })

  test('watches so many times and ends', async (t) => {
    await instance(t)
    const { code, stdout } = await new Stat(t, ['--live', '--interval', '0.2', '--count', '2', '--json']).ended
    assert.equal(code, 0)
    const changes = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Snapshot)
    assert.deepEqual(
      changes.map(({ atUs }) => atUs),
      [1e6, 1e6],
    )
  })

  test('that watches an instance that ends, ends with a sentence', async (t) => {
    const server = await instance(t)
    const stat = new Stat(t, ['--live', '--interval', '0.2'])
    await stat.until(/, the last 1\.0 s\n/)
    await close(server)
    const { code, stderr } = await stat.ended
    assert.equal(code, 1)
    assert.match(
      stderr,
      /^damselfly: no damselfly answers as process \d+ \(.*\): see "damselfly stat" without --pid for those that run\n$/,
    )
  })

  test('serves Prometheus: 503 without an instance, and its counts while one runs', async (t) => {
    const stat = new Stat(t, ['--prometheus', '--listen', '0'])
    await stat.until(/\n/)
    const [url] = /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(stat.stdout)!
    const none = await fetch(url)
    assert.deepEqual([none.status, await none.text()], [503, 'no damselfly runs: start one by "damselfly up"\n'])
    const server = await instance(t)
    const counts = await fetch(url)
    assert.equal(counts.status, 200)
    const text = await counts.text()
    assert.match(text, /^damselfly_machine_info\{title="two hosts",pid="\d+",host="threads",discipline="connp-l"\} 1$/m)
    assert.match(text, /^damselfly_handoff_enqueued_total\{point="netisr",cpu="0"\} 400$/m)
    await close(server)
    assert.equal((await fetch(url)).status, 503)
  })
})
