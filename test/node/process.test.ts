// What becomes of a process: when it ends by itself, with which code, and what its program sees of how it was started. Each
// program runs under plain Node and under the preload, and must print and end alike.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Command, type Ended, environment } from '../command.ts'

const PRELOAD = new URL('../../src/node/preload.js', import.meta.url).href
const INET = "require('node:dns').setDefaultResultOrder('ipv4first');"

function run(ours: boolean, args: readonly string[]): Command {
  const child = spawn(process.execPath, [...(ours ? ['--import', PRELOAD] : []), ...args], {
    env: environment({ DAMSELFLY_DEVICE: 'none' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Command(child)
}

/** Runs a program both ways. A port is asked for as PORT: two processes do not share one. */
async function both(program: string): Promise<Ended> {
  const [theirs, ours] = await Promise.all([false, true].map((own) => run(own, ['-e', INET + program]).ended))
  const seen = ({ code, signal, stdout }: Ended) => ({ code, signal, stdout })
  assert.deepEqual(seen(ours!), seen(theirs!), `${ours!.stderr}${theirs!.stderr}`)
  return ours!
}

const HEAD = `
  const net = require('net'), dgram = require('dgram'), http = require('http')
  const say = (...words) => console.log(...words)
  process.on('exit', (code) => say('exit', code))
`

const programs: readonly [name: string, program: string, output: string, code: number][] = [
  [
    'a process with a server that listens stays until it closes',
    `const server = net.createServer().listen(0, '127.0.0.1', () => setTimeout(() => { say('closing'); server.close() }, 20).unref())
     setTimeout(() => {}, 40)`,
    'closing\nexit 0\n',
    0,
  ],
  [
    'a process whose server is not referenced ends',
    "net.createServer().listen(0, '127.0.0.1', () => say('listening')).unref()",
    'listening\nexit 0\n',
    0,
  ],
  [
    'a server that is referenced again keeps the process',
    `const server = net.createServer().unref().listen(0, '127.0.0.1', () => {
       setTimeout(() => { say('still'); server.close() }, 20).unref()
     })
     server.ref()
     const keep = setTimeout(() => {}, 5)`,
    'still\nexit 0\n',
    0,
  ],
  [
    'a connection that reads keeps the process, and its end lets it go',
    `const server = net.createServer((socket) => { server.close(); setTimeout(() => socket.end('bye'), 20) })
     server.listen(0, '127.0.0.1', () => {
       net.connect(server.address().port, '127.0.0.1').on('data', (data) => say(String(data))).on('close', () => say('close'))
     })`,
    'bye\nclose\nexit 0\n',
    0,
  ],
  [
    'connections that are not referenced let the process go',
    `let open = 0
     const opened = () => { if (++open === 2) say('open') }
     const server = net.createServer((socket) => { socket.unref().resume(); server.close(); opened() })
     server.listen(0, '127.0.0.1', () => { net.connect(server.address().port, '127.0.0.1', opened).unref() })
     server.on('close', () => say('never'))`,
    'open\nexit 0\n',
    0,
  ],
  [
    'a datagram socket keeps the process until it is closed or not referenced',
    `const a = dgram.createSocket('udp4').bind(0, '127.0.0.1', () => setTimeout(() => { say('closing'); a.close() }, 20).unref())
     const b = dgram.createSocket('udp4').bind(0, '127.0.0.1', () => b.unref())`,
    'closing\nexit 0\n',
    0,
  ],
  [
    'an agent that keeps connections does not keep the process',
    `const server = http.createServer((request, response) => response.end('ok')).listen(0, '127.0.0.1', () => {
       http.get({ port: server.address().port, host: '127.0.0.1', agent: new http.Agent({ keepAlive: true }) }, (response) => {
         response.resume().on('end', () => { say('end'); server.unref(); server.closeIdleConnections() })
       })
     })
     server.keepAliveTimeout = 1`,
    'end\nexit 0\n',
    0,
  ],
  ['the exit code is the program’s', "net.createServer().listen(0, '127.0.0.1', () => process.exit(7))", 'exit 7\n', 7],
  ['so it is when it was set', 'process.exitCode = 9', 'exit 9\n', 9],
  [
    'an exception in a callback ends the process with code 1',
    "net.createServer().listen(0, '127.0.0.1', function () { net.connect(this.address().port, '127.0.0.1', () => { throw new Error('mine') }) })",
    'exit 1\n',
    1,
  ],
  [
    'a rejection that nobody handles does as well',
    "net.createServer().listen(0, '127.0.0.1', async () => { throw new Error('mine') })",
    'exit 1\n',
    1,
  ],
  [
    'a program that catches exceptions goes on serving',
    `process.on('uncaughtException', (error) => say('caught', error.message))
     let served = 0
     const server = net.createServer((socket) => {
       socket.on('data', (data) => { socket.end('answer ' + ++served); throw new Error(String(data)) })
     }).listen(0, '127.0.0.1', ask)
     function ask() {
       if (served === 3) return server.close()
       net.connect(server.address().port, '127.0.0.1').on('data', (data) => say(String(data))).on('close', ask).write('ask ' + served)
     }`,
    [0, 1, 2]
      .map((i) => `caught ask ${i}\nanswer ${i + 1}\n`)
      .join('')
      .concat('exit 0\n'),
    0,
  ],
  [
    'localhost is found, to listen at and to connect to, in every form',
    `const server = net.createServer((socket) => socket.end('found')).listen(0, 'localhost', () => {
       const { port, address, family } = server.address()
       say(address, family)
       net.connect({ port, host: 'localhost' }).on('data', (data) => say(String(data))).on('close', () => {
         net.connect({ port, host: 'localhost', autoSelectFamily: false }).on('data', (data) => { say(String(data)); server.close() })
       })
     })`,
    '127.0.0.1 IPv4\nfound\nfound\nexit 0\n',
    0,
  ],
  [
    'names that do not exist are ENOTFOUND',
    `net.connect(80, 'no-such-host.invalid').on('error', (error) => say(error.code === 'EAI_AGAIN' ? 'ENOTFOUND' : error.code, error.syscall))`,
    'ENOTFOUND getaddrinfo\nexit 0\n',
    0,
  ],
  [
    "paths are the kernel's as ever",
    `const path = require('path').join(require('os').tmpdir(), 'damselfly-test-' + process.pid + '.sock')
     const server = net.createServer((socket) => socket.end('by path')).listen(path, () => {
       net.connect(path).on('data', (data) => { say(String(data)); server.close() })
     })`,
    'by path\nexit 0\n',
    0,
  ],
]

describe('a process', () => {
  for (const [name, program, output, code] of programs) {
    test(name, { timeout: 60_000 }, async () => {
      const ended = await both(HEAD + program)
      assert.deepEqual([ended.stdout, ended.code], [output, code], ended.stderr)
    })
  }

  test('a server without an address listens at all addresses of IPv4', { timeout: 30_000 }, async () => {
    const program = `const server = net.createServer().listen(0, () => { say(server.address().address); server.close() })`
    const { stdout, code } = await run(true, ['-e', HEAD + program]).ended
    assert.deepEqual([stdout, code], ['0.0.0.0\nexit 0\n', 0])
  })

  test('an address of IPv6 is EAFNOSUPPORT, as on a host without it', { timeout: 30_000 }, async () => {
    const program = `net.connect(80, '::1').on('error', (error) => say(error.code, error.syscall))
      net.createServer().on('error', (error) => say(error.code, error.syscall)).listen(0, '::1')`
    const { stdout } = await run(true, ['-e', HEAD + program]).ended
    assert.deepEqual(stdout.trim().split('\n').toSorted(), ['EAFNOSUPPORT connect', 'EAFNOSUPPORT listen', 'exit 0'])
  })

  test('worker threads of the program keep the network of the kernel', { timeout: 30_000 }, async () => {
    const program = `const { Worker } = require('worker_threads')
      new Worker("const s = require('net').createServer().listen(0, '127.0.0.1', () => { console.log(s._handle.fd >= 0); s.close() })", { eval: true })`
    const { stdout, stderr } = await run(true, ['-e', HEAD + program]).ended
    assert.equal(stdout, 'true\nexit 0\n', stderr)
  })

  test('a process in which net was loaded before runs on us all the same', { timeout: 30_000 }, async () => {
    const program = `const server = http.createServer((request, response) => response.end('by late')).listen(0, () => {
        say(server.address().address, server._handle.fd)
        http.get('http://localhost:' + server.address().port, (response) => response.on('data', (data) => say(String(data)))
          .on('end', () => { server.close(); server.closeAllConnections() }))
      })
      const udp = dgram.createSocket('udp4', (message) => { say(String(message)); udp.close() })
      udp.bind(0, () => { say(process.getActiveResourcesInfo().includes('UDPWRAP')); udp.send('datagram', udp.address().port) })`
    const { stdout, stderr, code } = await run(true, ['-r', 'node:http', '-e', HEAD + program]).ended
    assert.deepEqual(
      [stdout.split('\n').toSorted(), code],
      [['', '0.0.0.0 -1', 'by late', 'datagram', 'exit 0', 'false'].toSorted(), 0],
      stderr,
    )
  })

  test('a child with a channel to its parent runs on us', { timeout: 30_000 }, async () => {
    const program = `
      if (process.send) {
        const server = net.createServer((socket) => socket.end('child')).listen(0, '127.0.0.1', () => {
          const fd = server._handle.fd
          net.connect(server.address().port, '127.0.0.1').on('data', (data) => process.send([fd, String(data)])).on('close', () => {
            server.close()
            process.disconnect()
          })
        })
      } else {
        const { spawn } = require('child_process')
        spawn(process.execPath, [...process.execArgv], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
          .on('message', (message) => say(message.join(' ')))
      }`
    const { stdout, stderr } = await run(true, ['-e', HEAD + program]).ended
    assert.equal(stdout, '-1 child\nexit 0\nexit 0\n', stderr)
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} ends a process as it would without us`, { timeout: 30_000 }, async () => {
      const command = run(true, ['-e', `${HEAD} net.createServer().listen(0, () => say('up'))`])
      while (!command.stdout.includes('up')) await new Promise((resolve) => command.child.stdout!.once('data', resolve))
      const ended = await command.end(signal)
      assert.deepEqual([ended.signal, ended.code], [signal, null])
    })

    test(`a program that listens to ${signal} decides by itself`, { timeout: 30_000 }, async () => {
      const program = `const server = http.createServer((request, response) => response.end('late answer')).listen(0, () => say('up'))
        process.on('${signal}', () => http.get({ port: server.address().port, agent: false }, (response) => {
          response.on('data', (data) => say(String(data))).on('end', () => { server.close(); server.closeAllConnections() })
        }))`
      const command = run(true, ['-e', HEAD + program])
      while (!command.stdout.includes('up')) await new Promise((resolve) => command.child.stdout!.once('data', resolve))
      const ended = await command.end(signal)
      assert.deepEqual([ended.signal, ended.code, ended.stdout], [null, 0, 'up\nlate answer\nexit 0\n'])
    })
  }
})

describe('a program in a file', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  const files: readonly [name: string, text: string][] = [
    ['main.cjs', 'console.log(__filename, require.main === module, process.argv.slice(1), require("./other.cjs"))'],
    [
      'main.mjs',
      `import { a } from './module.mjs'
       import { createRequire } from 'node:module'
       console.log(import.meta.url, process.argv.slice(1), a, createRequire(import.meta.url)('./other.cjs'), await Promise.resolve(1))`,
    ],
    ['main.js', 'console.log(__dirname, typeof require, this === module.exports)'],
  ]

  for (const [name, text] of files) {
    test(`${name} sees what it sees without us`, { timeout: 30_000 }, async () => {
      writeFileSync(join(folder, 'other.cjs'), 'module.exports = "other"')
      writeFileSync(join(folder, 'module.mjs'), 'export const a = "module"')
      const file = join(folder, name)
      writeFileSync(file, text)
      const [theirs, ours] = await Promise.all([false, true].map((own) => run(own, [file, '--flag', 'x']).ended))
      assert.equal(theirs!.code, 0, theirs!.stderr)
      assert.deepEqual([ours!.stdout, ours!.code], [theirs!.stdout, 0], ours!.stderr)
    })
  }
})
