import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Options, parseOptions } from './options.ts'

const options = (...argv: string[]) => parseOptions(argv, '/register.js') as Options
const refused = (message: RegExp, ...argv: string[]) =>
  assert.throws(() => parseOptions(argv, '/register.js'), { name: 'UsageError', message })

test('without options, all modules run on the stack, two at a time, on a host that has only itself', () => {
  const { modules, preload, environment, inProcess, timeoutMs, jobs, baseline } = options('tree')
  assert.deepEqual(modules, ['net', 'http', 'https', 'http2', 'dgram'])
  assert.equal(preload, '/register.js')
  assert.deepEqual(environment, { DAMSELFLY_DEVICE: 'none' })
  assert.deepEqual([inProcess, timeoutMs, jobs, baseline], [true, 60_000, 2, false])
})

test('plain node has no preload and none of its variables', () => {
  const { preload, environment, inProcess } = options('tree', '--preload', 'none')
  assert.deepEqual([preload, environment, inProcess], [undefined, {}, false])
})

test('a host with a device is not within the process', () => {
  const { environment, inProcess } = options('tree', '--device', 'tun', '--env', 'A=b=c', '--env', 'D=')
  assert.deepEqual(environment, { DAMSELFLY_DEVICE: 'tun', A: 'b=c', D: '' })
  assert.equal(inProcess, false)
})

test('modules, files, time and number at a time can be chosen', () => {
  const { modules, only, timeoutMs, jobs } = options(
    ...['tree', '--modules', 'dgram,net', '--only', 'connect$', '--timeout', '3', '--jobs', '1'],
  )
  assert.deepEqual(modules, ['dgram', 'net'])
  assert.ok(only!.test('test-net-connect') && !only!.test('test-net-connects'))
  assert.deepEqual([timeoutMs, jobs], [3000, 1])
})

test('help needs no folder', () => {
  assert.equal(parseOptions(['--help'], '/register.js'), 'help')
})

test('what does not fit is refused with a sentence that says what to give', () => {
  refused(/give the folder/)
  refused(/one folder at a time, not also "b c"/, 'a', 'b', 'c')
  refused(/--modules has "tls": give some of net,http/, 'a', '--modules', 'net,tls')
  refused(/--env is "A": give NAME=VALUE/, 'a', '--env', 'A')
  refused(/--jobs is "0": give a whole number from 1 to 64/, 'a', '--jobs', '0')
  refused(/--timeout is "1.5": give a whole number from 1 to 3600/, 'a', '--timeout', '1.5')
  refused(/--only: Invalid regular expression/, 'a', '--only', '(')
  refused(/Unknown option '--nothing'/, 'a', '--nothing')
})
