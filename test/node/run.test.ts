// `damselfly run`: programs of Node's that the kernel's own clients reach through a TUN device, and that reach the kernel's servers.
// In a network namespace of its own.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { libcUnavailable } from '../../src/device/linux/library.ts'
import { available, inNamespace, type Namespace } from '../../src/lab/tun/namespace.ts'
import { Command, type Ended, environment, MAIN, until } from '../command.ts'

const skip = available() ?? libcUnavailable()
const OURS = '10.77.0.2'
const KERNELS = '10.77.0.1'

/** A program with the kernel's network, inside. */
function kernel(namespace: Namespace, program: string): Promise<Ended> {
  return new Command(namespace.spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })).ended
}

let folder = ''

/** A program with ours. */
function run(namespace: Namespace, program: string, options: readonly string[] = [], suffix = 'cjs'): Command {
  const file = join(folder, `${namespace.name}.${suffix}`)
  writeFileSync(file, program)
  const child = namespace.spawn(process.execPath, [MAIN, 'run', ...options, file, 'an', '--argument'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Command(child)
}

const printed = (command: Command, text: string) =>
  until(`the program to print ${text}`, () => {
    if (command.child.exitCode !== null) throw new Error(`it has ended: ${command.stdout}${command.stderr}`)
    return command.stdout.includes(text)
  })

/** Asks a server over the kernel's network, and prints all that it answers. */
const asking = (port: number, text: string) => `
  const socket = require('net').connect(${port}, '${OURS}', () => socket.write(${JSON.stringify(text)}))
  let bytes = 0, head = ''
  socket.on('data', (data) => { bytes += data.length; if (head.length < 100) head += data.toString('latin1') })
  socket.on('error', (error) => console.log(error.code))
  socket.on('close', () => console.log(bytes, head.slice(0, 100)))
`

const HTTP = `
  require('http').createServer((request, response) => response.end('served ' + request.url)).listen(8080, () => console.log('up'))
`
const REQUEST = asking(8080, 'GET /it HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')

describe('damselfly run', { skip }, () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  for (const [what, options] of [
    ['one CPU', []],
    ['two CPUs and the program as a third', ['--cpus', '2']],
    ['a TAP device', ['--device', 'tap']],
  ] as const) {
    test(`an HTTP server answers the kernel's clients, on ${what}`, { timeout: 60_000 }, () =>
      inNamespace('run-http', async (namespace) => {
        const server = run(namespace, HTTP, options)
        await printed(server, 'up')
        const { stdout } = await kernel(namespace, REQUEST)
        assert.match(stdout, /HTTP\/1\.1 200 OK/)
        const ended = await server.end('SIGTERM')
        assert.equal(ended.signal, 'SIGTERM', ended.stderr)
      }),
    )
  }

  test("a program reaches the kernel's servers, by TCP and by UDP", { timeout: 60_000 }, () =>
    inNamespace('run-client', async (namespace) => {
      const servers = new Command(
        namespace.spawn(
          process.execPath,
          [
            '-e',
            `require('net').createServer((socket) => socket.end('kernel ' + socket.remoteAddress.replace('::ffff:', ''))).listen(9000)
             const udp = require('dgram').createSocket('udp4', (message, from) => udp.send('re: ' + message, from.port, from.address))
             udp.bind(9000, () => console.log('up'))
             setTimeout(() => process.exit(), 30000).unref()`,
          ],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        ),
      )
      await printed(servers, 'up')
      const program = `
        const socket = require('net').connect(9000, '${KERNELS}')
        socket.on('data', (data) => console.log(String(data)))
        socket.on('close', () => {
          const udp = require('dgram').createSocket('udp4', (message) => { console.log(String(message)); udp.close() })
          udp.send('ping', 9000, '${KERNELS}')
        })`
      const { stdout, code, stderr } = await run(namespace, program).ended
      assert.deepEqual([stdout, code], [`kernel ${OURS}\nre: ping\n`, 0], stderr)
      await servers.end('SIGTERM')
    }),
  )

  test('what was written before the end of the process arrives', { timeout: 60_000 }, () =>
    inNamespace('run-exit', async (namespace) => {
      const program = `require('net').createServer((socket) => {
          socket.end(Buffer.alloc(200000, 'x'))
          process.exit(5)
        }).listen(8080, () => console.log('up'))`
      const server = run(namespace, program)
      await printed(server, 'up')
      const { stdout } = await kernel(namespace, asking(8080, ''))
      assert.match(stdout, /^200000 x/)
      assert.equal((await server.ended).code, 5)
    }),
  )

  test('what was written before a reset is sent before it', { timeout: 60_000 }, () =>
    inNamespace('run-reset', async (namespace) => {
      const server = new Command(
        namespace.spawn(
          process.execPath,
          [
            '-e',
            `require('net').createServer((socket) => {
              socket.on('data', (data) => console.log(String(data))).on('error', (error) => console.log(error.code))
              socket.on('close', () => process.exit())
            }).listen(9000, () => console.log('up'))`,
          ],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        ),
      )
      await printed(server, 'up')
      const program = `const socket = require('net').connect(9000, '${KERNELS}', () => {
          socket.write('last words')
          socket.resetAndDestroy()
        })`
      assert.equal((await run(namespace, program).ended).code, 0)
      // Whether it hears of the reset, or of an end, is libuv's affair.
      assert.match((await server.ended).stdout, /^up\nlast words\n/)
    }),
  )

  test('Ctrl-C closes the connections of a program before it ends', { timeout: 60_000 }, () =>
    inNamespace('run-signal', async (namespace) => {
      const program = `require('net').createServer((socket) => socket.write('hello')).listen(8080, () => console.log('up'))`
      const server = run(namespace, program)
      await printed(server, 'up')
      const client = new Command(
        namespace.spawn(
          process.execPath,
          [
            '-e',
            `require('net').connect(8080, '${OURS}').on('data', (data) => console.log(String(data)))
              .on('error', (error) => console.log(error.code)).on('end', () => console.log('end'))`,
          ],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        ),
      )
      await printed(client, 'hello')
      const ended = await server.end('SIGINT')
      assert.equal(ended.signal, 'SIGINT', ended.stderr)
      assert.equal((await client.ended).stdout, 'hello\nend\n')
    }),
  )

  test('a program ends with its own code, and sees its own arguments', { timeout: 60_000 }, () =>
    inNamespace('run-code', async (namespace) => {
      const program = `import { basename } from 'node:path'
        console.log(process.argv.length, process.argv.slice(2).join(' '), basename(process.argv[1]) === basename(import.meta.url))
        process.exitCode = 42`
      const { stdout, code, stderr } = await run(namespace, program, [], 'mjs').ended
      assert.deepEqual([stdout, code], ['4 an --argument true\n', 42], stderr)
    }),
  )

  test('what passes is recorded, and nothing is lost of it at the end', { timeout: 60_000 }, () =>
    inNamespace('run-pcap', async (namespace) => {
      const path = join(folder, 'run.pcapng')
      const server = run(namespace, `${HTTP}setTimeout(() => {}, 30000).unref()`, ['--pcap', path])
      await printed(server, 'up')
      await kernel(namespace, REQUEST)
      await server.end('SIGINT')
      // SYN, SYN-ACK, ACK, the request, the answer, and two FINs with their acknowledgments.
      assert.ok(statSync(path).size > 9 * 60)
    }),
  )

  test('with --instances each CPU has its own program, and that the connections of its CPU', { timeout: 60_000 }, () =>
    inNamespace('run-instances', async (namespace) => {
      const program = `
        const { threadId } = require('worker_threads')
        const text = [threadId, require.main === module, ...process.argv.slice(2)].join(' ')
        require('net').createServer((socket) => socket.end(text)).listen(8080, () => console.log('up'))
        const udp = require('dgram').createSocket('udp4', (message, from) => udp.send(text, from.port, from.address))
        udp.bind(8080)`
      const server = run(namespace, program, ['--cpus', '2', '--instances'])
      await until('both instances', () => server.stdout.split('up').length === 3)
      const { stdout, stderr } = await kernel(
        namespace,
        `const seen = { tcp: new Set(), udp: new Set() }
         let left = 48
         const done = (kind, text) => { seen[kind].add(text); if (--left === 0) console.log([...seen.tcp].sort().join(), '/', [...seen.udp].sort().join()) }
         for (let i = 0; i < 24; i++) {
           require('net').connect(8080, '${OURS}').on('data', (data) => done('tcp', String(data)))
           const udp = require('dgram').createSocket('udp4', (message) => { done('udp', String(message)); udp.close() })
           udp.send('?', 8080, '${OURS}')
         }`,
      )
      const both = '1 true an --argument,2 true an --argument'
      assert.equal(stdout, `${both} / ${both}\n`, `${stderr}${server.stderr}`)
      assert.equal((await server.end('SIGINT')).signal, 'SIGINT')
    }),
  )

  for (const [what, program, code, printed] of [
    ['end when they have nothing left to do', 'console.log(1); setTimeout(() => {}, 20)', 0, /^1\n1\n$/],
    [
      'end with the code that one has set',
      "if (require('worker_threads').threadId === 2) process.exitCode = 4",
      4,
      /^$/,
    ],
    [
      'end all when one does, with its code',
      "require('net').createServer().listen(80, () => { if (require('worker_threads').threadId === 1) process.exit(3) })",
      3,
      /^$/,
    ],
    ['end all when one throws', "if (require('worker_threads').threadId === 2) throw new Error('mine')", 1, /^$/],
  ] as const) {
    test(`instances ${what}`, { timeout: 60_000 }, () =>
      inNamespace('run-instances-end', async (namespace) => {
        const ended = await run(namespace, program, ['--cpus', '2', '--instances', '--device', 'none']).ended
        assert.equal(ended.code, code, ended.stderr)
        assert.match(ended.stdout, printed)
      }),
    )
  }

  test('without privileges a sentence says what to do', { timeout: 60_000 }, async () => {
    const [uid, gid] = [65534, 65534]
    const child = spawn(process.execPath, [MAIN, 'run', '--tun', 'df9', 'server.js'], {
      uid,
      gid,
      env: environment({}),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { code, stdout, stderr } = await new Command(child).ended
    assert.deepEqual([code, stdout], [126, ''], stderr)
    assert.match(stderr, /^damselfly: .*(root|setcap|chmod)[^\n]*\n$/)
  })
})

describe('damselfly run, its words', () => {
  const wrong = async (...args: string[]) => {
    const child = spawn(process.execPath, [MAIN, 'run', ...args], {
      env: environment({}),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { code, stderr } = await new Command(child).ended
    return [code, stderr.split('\n')[0]]
  }

  test('what is missing or wrong is said', { timeout: 60_000 }, async () => {
    assert.deepEqual(await wrong(), [2, 'damselfly: run needs a program: damselfly run server.js'])
    assert.deepEqual((await wrong('--nothing', 'x'))[0], 2)
    const address = await wrong('--address', '10.0.0.0/24', 'server.js')
    assert.match(
      String(address[1]),
      /^damselfly: --address \(DAMSELFLY_ADDRESS\) is "10.0.0.0\/24": give an IPv4 address/,
    )
    assert.match(String((await wrong('--cpus', '0', 'x'))[1]), /--cpus .* is "0": give a whole number from 1 to 64/)
    assert.match(String((await wrong('--device', 'wire', 'x'))[1]), /--device .* is "wire": give none, tun or tap/)
    assert.match(
      String((await wrong('--gateway', '1.2.3.4', 'x'))[1]),
      /--gateway .* is "1.2.3.4": give an address of the net/,
    )
    assert.match(String((await wrong('--pcap', 'x.txt', 'x'))[1]), /--pcap .* is "x.txt": give a file name that ends/)
  })
})
