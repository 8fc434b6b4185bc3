import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { BROADCAST, counting, ether, text, udp } from '../net/testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, type TestHost } from '../net/testing/host.ts'
import { EchoCounters, echo } from './echo.ts'

function open(host: TestHost): void {
  host.stacks.forEach((stack, cpu) => {
    const errors: (Error | undefined)[] = []
    host.on(cpu, () => echo(stack, 7, (error) => errors.push(error)))
    assert.deepEqual(errors, [undefined])
  })
}

describe('echo service', () => {
  onHosts('what comes goes back, on the CPU of its flow', {}, (host) => {
    open(host)
    host.acquaint()
    for (let i = 0; i < 50; i++) {
      host.inject(udp({ sourcePort: 5000 + i, targetPort: 7 }, counting(i * 20)))
      const { payload } = host.expect({
        ip: { source: HOST, target: PEER },
        udp: { sourcePort: 7, targetPort: 5000 + i },
      })
      assert.deepEqual(payload, counting(i * 20))
    }
    assert.equal(host.count(EchoCounters, 'echoed'), 50)
  })

  onHosts('another service is not answered: the two would never stop', {}, (host) => {
    open(host)
    for (const sourcePort of [0, 1, 7, 13, 17, 19, 37, 53, 123, 1023]) {
      host.inject(udp({ sourcePort, targetPort: 7 }, text('echo? chargen?')))
    }
    host.expectNothing()
    assert.equal(host.count(EchoCounters, 'refused'), 10)
    host.inject(udp({ sourcePort: 1024, targetPort: 7 }, text('client')))
    host.expect({ payload: text('client') })
  })

  onHosts('what is sent to all is not answered by each', {}, (host) => {
    open(host)
    for (const target of ['10.0.0.255', '255.255.255.255', '224.0.0.1']) {
      host.injectFrame(ether({ source: PEER_LINK, target: BROADCAST }, udp({ target, targetPort: 7 }, text('all'))))
      host.inject(udp({ target, targetPort: 7 }, text('all')))
    }
    host.expectNothing()
    assert.equal(host.count(EchoCounters, 'refused'), 6)
  })

  onHosts('a port that is in use is an error and not an exception', {}, (host) => {
    host.open({ port: 7 })
    for (const stack of host.stacks) {
      const codes: (string | undefined)[] = []
      echo(stack, 7, (error) => codes.push((error as { code?: string } | undefined)?.code))
      assert.deepEqual(codes, ['EADDRINUSE'])
    }
  })
})
