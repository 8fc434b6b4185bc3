import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleFor } from './rule.ts'

const rule = (source: string, inProcess = true) =>
  ruleFor({ module: 'net', name: 'test-net-a.js', path: '/test-net-a.js', source }, inProcess)?.name

test('a cluster is left out', () => {
  assert.equal(rule("const cluster = require('cluster')"), 'cluster')
  assert.equal(rule("import cluster from 'node:cluster'"), 'cluster')
})

test('a file that passes a handle to a child is left out, one that sends a message is not', () => {
  assert.equal(rule("const { fork } = require('child_process'); child.send('server', server)"), 'handle')
  assert.equal(rule("const { fork } = require('child_process'); child.send({ what: 'accept' }, socket)"), 'handle')
  assert.equal(rule("const { fork } = require('child_process'); process.send({ port })", false), undefined)
  assert.equal(rule('dgram.createSocket("udp4").send(buffer, server.address().port)'), undefined)
})

test('a file that wraps descriptors of sockets is left out, one that sends files is not', () => {
  assert.equal(rule('server.listen({ fd: rawHandle.fd })'), 'descriptor')
  assert.equal(rule("internalBinding('pipe_wrap')"), 'descriptor')
  assert.equal(rule('stream.respondWithFD(fd); console.log(handle.fd)'), undefined)
})

test('a file that knows UNIX domain sockets only is left out, one that also listens on a port is not', () => {
  assert.equal(rule('server.listen(common.PIPE, () => net.connect(common.PIPE))'), 'pipe')
  assert.equal(rule("http.get({ socketPath: '/tmp/a.sock' })"), 'pipe')
  assert.equal(rule('server.listen(common.PIPE); other.listen(0)'), undefined)
  assert.equal(rule('server.listen(common.PIPE); net.connect(this.address().port)'), undefined)
})

test('a file that skips itself without IPv6 is left out, one that leaves out a part is not', () => {
  assert.equal(rule("if (!common.hasIPv6)\n  common.skip('no IPv6 support')"), 'ipv6')
  assert.equal(rule("if (!hasIPv6) { skip('no IPv6 support') }"), 'ipv6')
  assert.equal(rule('if (common.hasIPv6) more()'), undefined)
})

test('a file that needs the internet is left out, one that only uses its names is not', () => {
  assert.equal(rule("const { addresses } = require('../common/internet')"), 'internet')
  assert.equal(rule("require('../common/internet'); lookup: errorLookupMock()"), undefined)
})

test('a file that talks to its child over the network is left out where that lies in one process', () => {
  const source =
    "const { spawn } = require('child_process'); spawn(process.execPath, [__filename, server.address().port])"
  assert.equal(rule(source), 'processes')
  assert.equal(rule(source, false), undefined)
  assert.equal(rule("require('child_process').spawnSync(process.execPath, [__filename, 'port'])"), undefined)
  assert.equal(rule('const [port] = /\\d+/.exec(text)'), undefined)
})

test('comments do not count', () => {
  assert.equal(rule("// unlike require('cluster')\nserver.listen(0)"), undefined)
})
