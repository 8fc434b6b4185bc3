import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, beforeEach, describe, test } from 'node:test'
import { Errno, KernelError } from '../base/errno.ts'
import { askInstance, type Obedience, orderInstance, runningInstances, serveControl } from './control.ts'
import { snapshotOf } from './stat/testing/snapshot.ts'

const SNAPSHOT = snapshotOf({ pid: process.pid })
const user = process.getuid?.() ?? 0
const variables = { XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR, TMPDIR: process.env.TMPDIR }

/** One that has no orders. */
const serveSnapshots = (snapshot: Obedience['snapshot']) =>
  serveControl({ snapshot, order: () => Promise.reject(new Error('no orders')) })

describe('the control socket', { skip: process.platform === 'win32' && 'UNIX sockets' }, () => {
  let root: string
  let folder: string
  // The socket keeps no process alive, not even this one, which waits for it.
  const alive = setInterval(() => {}, 1000)

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'df-'))
    folder = join(root, `damselfly-${user}`)
    process.env.XDG_RUNTIME_DIR = root
  })
  afterEach(() => {
    rmSync(root, { recursive: true, force: true })
    for (const [name, value] of Object.entries(variables)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
  after(() => clearInterval(alive))

  test('answers with the snapshot of the moment, and is gone when it is closed', async () => {
    let taken = 0
    const server = await serveSnapshots(() => ({ ...SNAPSHOT, atUs: ++taken }))
    assert.deepEqual(await runningInstances(), [process.pid])
    const before = taken
    assert.deepEqual(await askInstance(process.pid), { ...SNAPSHOT, atUs: before + 1 })
    assert.deepEqual(await askInstance(process.pid), { ...SNAPSHOT, atUs: before + 2 })
    await closed(server)
    assert.deepEqual(readdirSync(folder), [])
    assert.deepEqual(await runningInstances(), [])
  })

  test('is open to its user only', async () => {
    const server = await serveSnapshots(() => SNAPSHOT)
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    assert.equal(statSync(join(folder, `${process.pid}.sock`)).mode & 0o777, 0o600)
    await closed(server)
  })

  test('carries a snapshot that is larger than a socket’s buffer', async () => {
    const title = 'x'.repeat(3_000_000)
    const server = await serveSnapshots(() => ({ ...SNAPSHOT, title }))
    assert.equal((await askInstance(process.pid)).title.length, title.length)
    await closed(server)
  })

  test('takes the place of one that a killed process of the same number left', async () => {
    leftOver(process.pid)
    const server = await serveSnapshots(() => SNAPSHOT)
    assert.deepEqual(await askInstance(process.pid), SNAPSHOT)
    await closed(server)
  })

  test('that nobody serves is removed, also where its number is another process’s by now', async () => {
    leftOver(process.pid)
    assert.deepEqual(await runningInstances(), [])
    assert.deepEqual(readdirSync(folder), [])
  })

  test('leaves other files alone', async () => {
    mkdirSync(join(folder, 'x.sock'), { recursive: true })
    chmodSync(folder, 0o700)
    assert.deepEqual(await runningInstances(), [])
    assert.deepEqual(readdirSync(folder), ['x.sock'])
  })

  test('is not looked for by making folders', async () => {
    assert.deepEqual(await runningInstances(), [])
    assert(!existsSync(folder))
  })

  test('is not made where others can look in, or where a link leads', async () => {
    mkdirSync(folder)
    chmodSync(folder, 0o755)
    const refusal = { code: 'EACCES', message: /is not only yours: remove it, or set XDG_RUNTIME_DIR/ }
    await assert.rejects(
      serveSnapshots(() => SNAPSHOT),
      refusal,
    )
    await assert.rejects(runningInstances(), refusal)
    rmSync(folder, { recursive: true })
    const elsewhere = join(root, 'elsewhere')
    mkdirSync(elsewhere, { mode: 0o700 })
    symlinkSync(elsewhere, folder)
    await assert.rejects(
      serveSnapshots(() => SNAPSHOT),
      refusal,
    )
    assert.deepEqual(readdirSync(elsewhere), [])
  })

  test('lies in the folder for temporary files where XDG_RUNTIME_DIR is not set, empty or relative', async () => {
    process.env.TMPDIR = root
    for (const value of [undefined, '', 'here', './here']) {
      if (value === undefined) delete process.env.XDG_RUNTIME_DIR
      else process.env.XDG_RUNTIME_DIR = value
      const server = await serveSnapshots(() => SNAPSHOT)
      assert.deepEqual(readdirSync(folder), [`${process.pid}.sock`])
      await closed(server)
    }
  })

  test('does not make an XDG_RUNTIME_DIR that does not exist', async () => {
    process.env.XDG_RUNTIME_DIR = join(root, 'nowhere')
    await assert.rejects(
      serveSnapshots(() => SNAPSHOT),
      { code: 'ENOENT' },
    )
    assert(!existsSync(join(root, 'nowhere')))
  })

  test('is refused where its path would be cut', async () => {
    process.env.XDG_RUNTIME_DIR = join(root, 'a'.repeat(100))
    mkdirSync(process.env.XDG_RUNTIME_DIR)
    await assert.rejects(
      serveSnapshots(() => SNAPSHOT),
      { message: /is too long: set XDG_RUNTIME_DIR to a shorter one/ },
    )
    assert.deepEqual(readdirSync(root), ['a'.repeat(100)])
  })

  test('of a process that is no instance is a sentence', async () => {
    await assert.rejects(askInstance(4_194_304), {
      code: 'ECONNREFUSED',
      message: /^no damselfly answers as process 4194304 .*: see "damselfly stat" without --pid for those that run$/,
    })
  })

  test('that answers with something else is a sentence', async () => {
    mkdirSync(folder, { mode: 0o700 })
    for (const answer of ['{"version":1,', 'null', '{}', '{"version":2}', '"version"']) {
      const server = createServer((socket) => socket.resume().end(answer))
      await new Promise<void>((resolve) => server.listen(join(folder, `${process.pid}.sock`), resolve))
      await assert.rejects(askInstance(process.pid), {
        code: 'EPROTO',
        message: /answered with something that is of another version than this command/,
      })
      await closed(server)
    }
  })

  test('that ends before it answers is one that does not run', async () => {
    mkdirSync(folder, { mode: 0o700 })
    const server = createServer((socket) => socket.resume().end())
    await new Promise<void>((resolve) => server.listen(join(folder, `${process.pid}.sock`), resolve))
    await assert.rejects(askInstance(process.pid), {
      code: 'ECONNREFUSED',
      message: /^no damselfly answers as process \d+ \(it has ended\)/,
    })
    await closed(server)
  })

  test('passes an order on, and what it was answered or refused with', async () => {
    const orders: unknown[] = []
    const server = await serveControl({
      snapshot: () => SNAPSHOT,
      order: async (order) => {
        orders.push(order)
        if (orders.length > 1) throw new KernelError(Errno.EBUSY, 'not now: try later')
        return { hosts: 2 }
      },
    })
    assert.deepEqual(await orderInstance(process.pid, { order: 'x', text: 'ä\n' }), { hosts: 2 })
    await assert.rejects(orderInstance(process.pid, 7), { code: 'EBUSY', message: 'not now: try later' })
    assert.deepEqual(orders, [{ order: 'x', text: 'ä\n' }, 7])
    await closed(server)
  })

  test('lets go of a peer that sends too much or what is no order, and goes on', async () => {
    const server = await serveControl({
      snapshot: () => SNAPSHOT,
      order: () => Promise.reject(new Error('nobody calls this')),
    })
    const path = join(folder, `${process.pid}.sock`)
    const answerTo = (text: string) =>
      new Promise<string>((resolve) => {
        let answer = ''
        const socket = connect(path, () => socket.write(text))
        socket.on('data', (chunk) => {
          answer += String(chunk)
        })
        socket.on('error', () => {})
        socket.on('close', () => resolve(answer))
      })
    assert.equal(await answerTo('x'.repeat(5000)), '')
    assert.match(await answerTo('{"order":\n'), /^\{"refused":\{"code":"EINVAL","message":".+"\}\}$/)
    assert.deepEqual(await askInstance(process.pid), SNAPSHOT)
    await closed(server)
  })

  test('lets go of peers that take their time, and of more of them than it has room for, and goes on', async () => {
    const server = await serveControl(
      { snapshot: () => SNAPSHOT, order: () => Promise.reject(new Error('no orders')) },
      { patienceMs: 300 },
    )
    const path = join(folder, `${process.pid}.sock`)
    // Each says something before anybody could think that it had fallen silent.
    const slow = Array.from({ length: 100 }, () => {
      const socket = connect(path)
      const timer = setInterval(() => socket.write('['), 20)
      socket.on('error', () => {})
      return new Promise<void>((resolve) => {
        socket.on('close', () => {
          clearInterval(timer)
          resolve()
        })
      })
    })
    await Promise.all(slow)
    assert.deepEqual(await askInstance(process.pid), SNAPSHOT)
    await closed(server)
  })

  test('lets go of a peer that sends without an end, and of one that does not take its answer', async () => {
    const title = 'x'.repeat(3_000_000)
    const server = await serveControl(
      { snapshot: () => ({ ...SNAPSHOT, title }), order: () => Promise.reject(new Error('no orders')) },
      { patienceMs: 300 },
    )
    const path = join(folder, `${process.pid}.sock`)
    const gone = (begin: (socket: Socket) => void) =>
      new Promise<void>((resolve) => {
        const socket = connect(path, () => begin(socket))
        socket.on('error', () => {})
        socket.on('close', () => resolve())
      })
    await gone((socket) => {
      const more = () => socket.write(Buffer.alloc(1000, 'x'), (error) => error ?? setImmediate(more))
      more()
      socket.resume()
    })
    const open = new Set<Socket>()
    server.on('connection', (socket: Socket) => {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
    })
    const deaf = connect(path, () => deaf.write('\n'))
    deaf.on('error', () => {})
    deaf.pause()
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (server.listening && open.size === 0 && deaf.bytesWritten > 0) {
          clearInterval(timer)
          resolve()
        }
      }, 20)
    })
    deaf.destroy()
    assert.equal((await askInstance(process.pid)).title.length, title.length)
    await closed(server)
  })

  test('that answers without an end is given up', async () => {
    mkdirSync(folder, { mode: 0o700 })
    const server = createServer((socket) => {
      const more = () => socket.write(Buffer.alloc(1 << 20, ' '), (error) => error ?? setImmediate(more))
      socket.on('error', () => {})
      socket.resume()
      more()
    })
    await new Promise<void>((resolve) => server.listen(join(folder, `${process.pid}.sock`), resolve))
    await assert.rejects(askInstance(process.pid), { code: 'ECONNREFUSED', message: /it does not come to an end/ })
    await closed(server)
  })

  /** A socket that a process was killed with. */
  function leftOver(pid: number): void {
    mkdirSync(folder, { mode: 0o700 })
    const path = JSON.stringify(join(folder, `${pid}.sock`))
    const script = `require('node:net').createServer().listen(${path}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', script], { timeout: 20_000 })
    assert.deepEqual(readdirSync(folder), [`${pid}.sock`])
  }
})

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
