// Real clients against Node's own servers: nc, curl, wrk, iperf3 and a long session, in a network namespace of their own.
// Each runs twice: with the servers on the kernel, which shows that the test is right, and on the stack over TUN.
// The test starts this file a second time inside the namespace for the session.
import assert from 'node:assert/strict'
import { createReadStream, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Random } from '../src/base/random.ts'
import { libcUnavailable } from '../src/device/linux/library.ts'
import { available, Namespace } from '../src/lab/tun/namespace.ts'
import { digest, Port, sample } from './client-service.ts'
import { Command, environment, MAIN, until } from './command.ts'

const self = fileURLToPath(import.meta.url)
const SERVICE = fileURLToPath(new URL('./client-service.js', import.meta.url))
const isLong = process.env.DAMSELFLY_LONG !== undefined
/** Many times what any buffer holds. */
const LARGE_MB = isLong ? 100 : 25
const LARGE_BYTES = LARGE_MB * 1024 * 1024
const SMALL_BYTES = 1_234_567
const SESSION_EXCHANGES = isLong ? 300 : 100
/** How long iperf3 goes on. */
const IPERF3_UNTIL = isLong ? ['-t', '1'] : ['-n', '64M']
/** All that one client does takes seconds; a machine with other work takes longer. */
const CLIENT_MS = 60_000
const HOST_MS = 10 * 60_000

if (process.argv[2] === 'session') await session(process.argv[3]!)
else {
  const skip = available() ?? false
  describe('servers on the kernel', { skip }, () =>
    clients('kernel', '127.0.0.1', [process.execPath, ['--enable-source-maps', SERVICE]]),
  )
  for (const cpus of [1, 2]) {
    const args = ['run', '--tun', 'df0', '--address', '10.77.0.2/24', '--cpus', `${cpus}`, SERVICE]
    describe(`servers on the stack, ${cpus} CPU${cpus === 1 ? '' : 's'}`, { skip: libcUnavailable() ?? skip }, () =>
      clients(`stack${cpus}`, '10.77.0.2', [process.execPath, ['--enable-source-maps', MAIN, ...args]]),
    )
  }
}

function clients(label: string, host: string, [program, args]: readonly [string, readonly string[]]): void {
  let root: string
  let namespace: Namespace
  let service: Command

  const command = (name: string, rest: readonly string[], limitMs: number) =>
    new Command(
      namespace.spawn(name, rest, {
        env: environment({ XDG_RUNTIME_DIR: root }),
        stdio: ['ignore', 'pipe', 'pipe'],
        cwd: root,
      }),
      limitMs,
    )
  /** Runs a client to its good end; what it printed. */
  const run = async (name: string, ...rest: readonly string[]) => {
    const { code, signal, stdout, stderr } = await command(name, rest, CLIENT_MS).ended
    assert.equal(
      code,
      0,
      `${name} ${rest.join(' ')}: ${signal ?? ''}\n${stdout}${stderr}\nthe servers: ${service.stderr}`,
    )
    return stdout
  }
  const shell = (script: string) => run('sh', '-c', script)
  const url = (path: string) => `http://${host}:${Port.http}${path}`

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'df-'))
    namespace = new Namespace(`clients-${label}`)
    service = command(program, args, HOST_MS)
    await until('the servers', () => service.stdout.includes('ready') || service.child.exitCode !== null)
    assert.equal(service.child.exitCode, null, service.stderr)
    writeFileSync(join(root, 'large'), Buffer.concat([...sample(LARGE_BYTES)]))
    writeFileSync(join(root, 'small'), Buffer.concat([...sample(SMALL_BYTES)]))
  })
  after(async () => {
    await service?.end('SIGTERM')
    namespace?.remove()
    if (root !== undefined) rmSync(root, { recursive: true, force: true })
  })

  describe('nc', { skip: without('nc') }, () => {
    test('gets back what it sends, and then the end', async () => {
      await shell(`nc -N ${host} ${Port.echo} < small > echoed && cmp small echoed`)
    })

    test('is refused at a port where nobody listens', async () => {
      const { code, stderr } = await command('nc', ['-zv', host, '9'], CLIENT_MS).ended
      assert.equal(code, 1)
      assert.match(stderr, /refused/)
    })
  })

  describe('curl', { skip: without('curl') }, () => {
    test(`downloads ${LARGE_MB} MB, and they are the right ones`, async () => {
      await run('curl', '-sS', '--fail', '-o', 'downloaded', url(`/bytes/${LARGE_BYTES}`))
      assert.equal(await digest(createReadStream(join(root, 'downloaded'))), await digest(sample(LARGE_BYTES)))
    })

    test(`uploads ${LARGE_MB} MB, and they are the right ones`, async () => {
      assert.equal(await run('curl', '-sS', '--fail', '-T', 'large', url('/sum')), await digest(sample(LARGE_BYTES)))
    })

    test('downloads twenty files at a time', async () => {
      const outputs = Array.from({ length: 20 }, (_, i) => ['-o', `part${i}`, url(`/bytes/${SMALL_BYTES + i}`)])
      await run('curl', '-sS', '--fail', '--parallel', '--parallel-immediate', ...outputs.flat())
      for (let i = 0; i < 20; i++) {
        assert.equal(await digest(createReadStream(join(root, `part${i}`))), await digest(sample(SMALL_BYTES + i)))
      }
    })

    test('goes away in the middle of a download, and the next one is served', async () => {
      const printed = await shell(`curl -sS ${url(`/bytes/${LARGE_BYTES}`)} 2> /dev/null | head -c 1000000 | wc -c`)
      assert.equal(printed.trim(), '1000000')
      assert.equal(await run('curl', '-sS', '--fail', url('/')), 'hello, world\n')
    })

    test('makes a hundred requests, each on a connection of its own', async () => {
      const requests = Array.from({ length: 100 }, () => url('/'))
      const printed = await run('curl', '-sS', '--fail', '-H', 'Connection: close', ...requests)
      assert.equal(printed, 'hello, world\n'.repeat(100))
    })
  })

  test('wrk keeps 16 connections busy without an error', { skip: without('wrk') }, async () => {
    const printed = await run('wrk', '-c', '16', '-t', '1', '-d', '1s', url('/'))
    const [, requests] = /^ *(\d+) requests in /m.exec(printed) ?? []
    assert(Number(requests) > 0, printed)
    assert.doesNotMatch(printed, /Socket errors|Non-2xx/)
  })

  describe('iperf3', { skip: without('iperf3') }, () => {
    const directions: readonly (readonly [string, readonly string[], number])[] = [
      ['sends', [], 1],
      ['sends on four streams', ['-P', '4'], 4],
      ['receives', ['-R'], 1],
      ['receives on four streams', ['-R', '-P', '4'], 4],
      ['sends 50 MB', ['-n', '50M'], 1],
    ]
    for (const [what, options, streams] of directions) {
      test(`${what}, and agrees with the server on the result`, async () => {
        const time = options.includes('-n') ? [] : IPERF3_UNTIL
        const printed = JSON.parse(await run('iperf3', '-c', host, '-J', ...time, ...options))
        assert.equal(printed.error, undefined)
        assert.equal(printed.end.streams.length, streams)
        const { sum_sent: sent, sum_received: received } = printed.end
        assert(received.bytes > 0)
        // Forward, the server may have bytes outstanding that were sent; in reverse, the client goes on receiving to its end.
        const [more, less] = [Math.max(sent.bytes, received.bytes), Math.min(sent.bytes, received.bytes)]
        assert(less > more / 2, `sent ${sent.bytes}, received ${received.bytes}`)
      })
    }
  })

  test(`a session of ${SESSION_EXCHANGES} lines with pauses loses none`, async () => {
    const printed = await run(process.execPath, '--enable-source-maps', self, 'session', host)
    assert.deepEqual(JSON.parse(printed), { answered: SESSION_EXCHANGES })
  })

  test('the servers have complained about nothing', () => {
    assert.equal(service.stderr, '')
    assert.equal(service.child.exitCode, null)
  })
}

/** Why a client's tests are skipped, or false. */
function without(program: string): string | false {
  const folders = (process.env.PATH ?? '').split(':')
  return folders.some((folder) => existsSync(join(folder, program))) ? false : `${program} is not installed`
}

/** Somebody who types: lines of many lengths, sometimes several at once, sometimes after a pause. */
async function session(host: string): Promise<void> {
  const random = new Random(7)
  const socket = connect(Port.lines, host)
  socket.setNoDelay(true)
  const answers = createInterface({ input: socket })[Symbol.asyncIterator]()
  let asked = 0
  let answered = 0
  while (asked < SESSION_EXCHANGES) {
    const burst: string[] = []
    while (burst.length <= random.below(3) && asked + burst.length < SESSION_EXCHANGES) {
      burst.push('abcdefghij'.repeat(1 + random.below(40)).slice(random.below(9)))
    }
    asked += burst.length
    // One by one, so that they are segments of their own; the pauses cross the delayed ACK of either side.
    for (const line of burst) socket.write(`${line}\n`)
    for (const line of burst) {
      const { value } = await answers.next()
      assert.equal(value, `${answered} ${[...line].reverse().join('')}`)
      answered++
    }
    if (random.below(3) === 0) await delay(random.below(60))
  }
  socket.end()
  console.log(JSON.stringify({ answered }))
}
