import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Errno, KernelError } from '../../base/errno.ts'
import { libcUnavailable, loadLibc } from './library.ts'
import { NONE, UnixCalls } from './unix.ts'

const skip = libcUnavailable()
let folder = ''
let paths = 0

test('without Linux the error says what does without', () => {
  const purpose = { what: 'UNIX-domain sockets with traces', instead: 'use node:net, which has them without' }
  assert.throws(
    () => loadLibc({ purpose, platform: 'darwin', architecture: 'arm64' }),
    (error: unknown) => {
      assert(error instanceof KernelError)
      assert.equal(error.code, 'EOPNOTSUPP')
      assert.match(error.message, /^UNIX-domain sockets with traces need Linux on .*: use node:net/)
      return true
    },
  )
})

describe('UNIX-domain sockets by system calls', { skip }, () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'damselfly-unix-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  /** Two ends that are connected, and what reads and writes by them. */
  function connection() {
    const calls = new UnixCalls()
    const path = join(folder, `${++paths}.sock`)
    const listener = calls.socket()
    assert.equal(calls.bind(listener, path), 0)
    assert.equal(calls.listen(listener, 5), 0)
    assert.equal(calls.accept(listener), -Errno.EAGAIN)
    const client = calls.socket()
    assert.equal(calls.connect(client, path), 0)
    const server = calls.accept(listener)
    assert(server >= 0)
    calls.close(listener)
    const room = new Uint8Array(new ArrayBuffer(65_536))
    const pointer = calls.pointer(room)
    const send = (text: string, extra: number = NONE) => {
      const bytes = new TextEncoder().encode(text)
      return calls.send(client, calls.pointer(bytes), bytes.length, extra)
    }
    const receive = (takes = true, bytes = room.length) => {
      const count = calls.receive(server, pointer, bytes, takes)
      return count < 0 ? count : new TextDecoder().decode(room.subarray(0, count))
    }
    const close = () => {
      for (const descriptor of [client, server]) calls.close(descriptor)
    }
    return { calls, client, server, room, pointer, send, receive, close }
  }

  function sealed(calls: UnixCalls, text: string): number {
    const bytes = new TextEncoder().encode(text)
    const descriptor = calls.sealedFile(calls.pointer(bytes), bytes.length)
    assert(descriptor >= 0)
    return descriptor
  }

  test('a sealed file arrives beside the bytes, once, and can be read', () => {
    const { calls, room, pointer, send, receive, close } = connection()
    const file = sealed(calls, 'the trace')
    assert.equal(send('hello', file), 5)
    assert.equal(calls.close(file), 0)
    assert.equal(receive(), 'hello')
    const { received } = calls
    assert(received >= 0)
    assert.equal(calls.isTruncated, false)
    assert.equal(calls.isSealed(received), true)
    const status = calls.status(received)!
    assert.deepEqual([status.isRegular, status.bytes], [true, 9])
    assert.equal(calls.read(received, pointer, 9), 9)
    assert.equal(new TextDecoder().decode(room.subarray(0, 9)), 'the trace')
    assert.equal(send('again'), 5)
    assert.equal(receive(), 'again')
    assert.equal(calls.received, NONE)
    calls.close(received)
    close()
  })

  test('bytes with a descriptor are the last of a call, and those behind them come with the next', () => {
    const { calls, send, receive, close } = connection()
    const file = sealed(calls, 'x')
    send('a')
    send('b', file)
    send('c')
    assert.equal(receive(), 'ab')
    assert(calls.received >= 0)
    calls.close(calls.received)
    assert.equal(receive(), 'c')
    assert.equal(receive(), -Errno.EAGAIN)
    calls.close(file)
    close()
  })

  test('32 KiB are kept as one, with their descriptor', () => {
    const { calls, send, receive, close } = connection()
    const file = sealed(calls, 'x')
    assert.equal(send('y'.repeat(32_768), file), 32_768)
    assert.equal(receive(), 'y'.repeat(32_768))
    assert(calls.received >= 0)
    calls.close(calls.received)
    calls.close(file)
    close()
  })

  test('whoever wants no descriptor is given none, and is told that there was one', () => {
    const { calls, send, receive, close } = connection()
    const file = sealed(calls, 'x')
    send('a', file)
    assert.equal(receive(false), 'a')
    assert.deepEqual([calls.received, calls.isTruncated], [NONE, true])
    calls.close(file)
    close()
  })

  test('what is not sealed is told', () => {
    const { calls, client, close } = connection()
    const path = join(folder, 'file')
    writeFileSync(path, 'text')
    for (const descriptor of [client, openSync(path, 'r'), openSync('/', 'r')])
      assert.equal(calls.isSealed(descriptor), false)
    assert.equal(calls.isSealed(-1), false)
    assert.equal(calls.status(-1), undefined)
    close()
  })

  test('whether the peer has read is known, and waited for', () => {
    const { calls, client, send, receive, close } = connection()
    assert.equal(calls.isRead(client), true)
    assert.equal(calls.isPeerHere(client), true)
    for (let i = 0; i < 5; i++) send('x', NONE)
    assert.equal(calls.isRead(client), false)
    receive()
    assert.equal(calls.isRead(client), true)
    close()
  })

  test('a path that cannot be one makes no file', () => {
    const calls = new UnixCalls()
    const descriptor = calls.socket()
    const long = `/tmp/${'x'.repeat(110)}`
    for (const path of ['', long, '/tmp/a\0b']) {
      assert.equal(calls.bind(descriptor, path), -Errno.EINVAL)
      assert.equal(calls.connect(descriptor, path), -Errno.EINVAL)
    }
    assert(!existsSync('/tmp/a'))
    calls.close(descriptor)
  })

  test('a name that begins with 0 is no path, and is found by its length', () => {
    const calls = new UnixCalls()
    const [listener, client] = [calls.socket(), calls.socket()]
    const name = `\0damselfly-test-${process.pid}`
    assert.equal(calls.bind(listener, name), 0)
    assert.equal(calls.listen(listener, 1), 0)
    assert.equal(calls.connect(client, `${name}x`), -Errno.ECONNREFUSED)
    assert.equal(calls.connect(client, name), 0)
    for (const descriptor of [listener, client]) calls.close(descriptor)
  })

  test('a descriptor can be closed elsewhere, and is closed when that is told', async () => {
    const calls = new UnixCalls()
    const descriptor = calls.socket()
    await new Promise<void>((resolve) => {
      calls.closeElsewhere(descriptor, resolve)
    })
    assert.equal(calls.close(descriptor), -Errno.EBADF)
  })
})
