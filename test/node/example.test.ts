// The examples, as a reader runs them.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { libcUnavailable } from '../../src/device/linux/library.ts'
import { available, inNamespace } from '../../src/lab/tun/namespace.ts'
import { Command, environment, MAIN, until } from '../command.ts'

const skip = available() ?? libcUnavailable()

/** Compiled tests are two folders deeper than the examples. */
const example = (name: string) => fileURLToPath(new URL(`../../../examples/${name}`, import.meta.url))

/** The package by its name is the one that this test was compiled with, wherever that lies. */
const ENTRIES = {
  damselfly: new URL('../../src/node/main.js', import.meta.url).href,
  'damselfly/kernel': new URL('../../src/kernel.js', import.meta.url).href,
}
const hooks = `const entries = ${JSON.stringify(ENTRIES)}
  export const resolve = (specifier, context, next) => specifier in entries
    ? { url: entries[specifier], shortCircuit: true }
    : next(specifier, context)`
const resolver = `import { register } from 'node:module'
  register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}))`

/** Runs one to its end. */
function run(name: string, ...args: readonly string[]) {
  const imported = `data:text/javascript,${encodeURIComponent(resolver)}`
  const child = spawn(process.execPath, ['--import', imported, example(name), ...args], {
    env: environment({}),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Command(child).ended
}

test('a bug in a program of three threads is found by the trace, and is not without it', {
  timeout: 60_000,
}, async () => {
  const traced = await run('provenance/main.js')
  assert.equal(traced.code, 0, traced.stderr)
  const [, forwarded, sent] = traced.stdout.split(/^(?=forwarded by cpu 1|sent by cpu 0)/m)
  assert.match(forwarded ?? '', /^forwarded by cpu 1 on port ledger, .* earlier:\n {4}at Port\.price /)
  assert.match(
    sent ?? '',
    /^sent by cpu 0 on port pricing, .*\n {4}at book .*\n {4}at takeBack .*\n {4}at returns .*shop\.js:37/,
  )
  const { stdout } = await run('provenance/main.js', 'off')
  assert.match(stdout, /article 3 was taken back and never sold/)
  assert.doesNotMatch(stdout, /takeBack/)
})

test('two hosts in one process exchange HTTP over 50 ms and 3 % loss', { timeout: 60_000 }, async () => {
  const { code, stdout, stderr } = await run('two-hosts.js', '2')
  assert.equal(code, 0, stderr)
  // A request takes two round trips at the least.
  const seconds = /^one after the other: 200000 bytes in ([\d.]+) s\nat once: 200000 bytes in [\d.]+ s\n$/.exec(
    stdout,
  )?.[1]
  assert.ok(Number(seconds) >= 0.15, stdout)
})

test('the web server and the echo server answer the kernel', { skip, timeout: 60_000 }, () =>
  inNamespace('example', async (namespace) => {
    const run = (file: string, tun: string, address: string) =>
      new Command(
        namespace.spawn(process.execPath, [MAIN, 'run', '--tun', tun, '--address', address, example(file)], {
          stdio: ['ignore', 'pipe', 'pipe'],
        }),
      )
    const web = run('http-server.js', 'df0', '10.77.0.2/24')
    const echo = run('echo-server.js', 'df1', '10.78.0.2/24')
    await until('both servers', () => web.stdout.includes('http://') && echo.stdout.includes('UDP echo'))
    const ask = (program: string) =>
      new Command(namespace.spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })).ended
    const get = await ask(
      `require('http').get('http://10.77.0.2:8080/page', (response) => response.pipe(process.stdout))`,
    )
    assert.match(get.stdout, /^GET \/page for 10.77.0.1, number 1 of thread 0\n$/, get.stderr)
    const echoed = await ask(`
      require('net').connect(7, '10.78.0.2').end('by TCP ').pipe(process.stdout)
      const udp = require('dgram').createSocket('udp4', (message) => { console.log(String(message)); udp.close() })
      udp.send('by UDP', 7, '10.78.0.2')`)
    assert.match(echoed.stdout, /by TCP/, echoed.stderr)
    assert.match(echoed.stdout, /by UDP/)
    await Promise.all([web.end('SIGINT'), echo.end('SIGINT')])
  }),
)
