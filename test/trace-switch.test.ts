// The mode is switched off and on again while things are under way: what was noted before is the cause of nothing that came while it was off. Also
// where the CPU whose record it is still sleeps when another one sees the new mode, so that the record is still there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Chain } from '../src/kernel/trace/chain.ts'
import { setPortTraceMode, setTraceMode, type TraceMode } from '../src/kernel/trace/mode.ts'
import { ChainReader } from '../src/kernel/trace/reader.ts'
import { text } from '../src/net/testing/frame.ts'
import { PEER, type TestHost, withHost } from '../src/net/testing/host.ts'
import { Peer } from '../src/net/testing/peer.ts'

/** Of the machine, or of the port of TCP's requests alone. */
type Mode = TraceMode | 'port'
/** Nothing that begins is taken. */
const HARDLY_ANY = 1_000_000_000
const LONG_US = 500_000

function set(host: TestHost, mode: Mode): void {
  if (mode !== 'port') setTraceMode(host.machine.memory, mode)
  else setPortTraceMode(host.machine.memory, host.stacks[host.programCpu]!.tcp.port.id, 'all')
}

function traced(host: TestHost, mode: TraceMode): void {
  set(host, mode)
  host.run(1000)
}

/** The mode is set while all sleep, and `cpu` is the first to wake, to do something. */
function wakesFirst(host: TestHost, cpu: number, mode: Mode, run: () => void): void {
  host.run(LONG_US)
  host.on(cpu, (stack) => {
    const { timers } = stack.context.cpu
    timers.after(20_000, () => set(host, mode))
    timers.after(30_000, run)
  })
  host.run(60_000)
}

const chainOf = (host: TestHost, trace: number) => new ChainReader(host.machine.memory).chain(trace)

/** It is whole, and all of it is younger than that. */
function assertBegan(chain: Chain, afterUs: number): void {
  const told = `${chain.hops.map(({ kind, cpu, atUs }) => `${kind} on ${cpu} at ${atUs}`).join(', ')}: ${chain.end}`
  assert.ok(
    chain.hops.every(({ atUs }) => atUs > afterUs),
    `nothing before ${afterUs}: ${told}`,
  )
  assert.equal(chain.end, 'origin', told)
}

for (const programs of [0, 1]) {
  const where = programs === 0 ? 'on the CPU of the connection' : 'on another CPU'
  for (const mode of ['all', 2, HARDLY_ANY, 'port'] as const) {
    const how = `${where}, then ${typeof mode === 'number' ? `1/${mode}` : mode}`

    test(`what is read that came in mode off was not caused by what came before: ${how}`, () => {
      withHost({ cpus: 1, programs, seed: 4, discipline: 'connp-t', layers: [] }, (host) => {
        const cpu = host.programCpu
        const program = host.connect({ address: PEER, port: 80, noDelay: true }, cpu)
        const peer = Peer.accept(host, {})
        program.expect('connect')
        const { socket } = program
        let isLate = false
        socket.onReadable = () => {
          if (!isLate) socket.receive(new Uint8Array(socket.readableBytes))
        }
        traced(host, 'all')
        peer.send('PA', { data: text('first') })
        host.take()
        traced(host, 'off')
        isLate = true
        const off = host.nowUs
        peer.send('PA', { data: text('second') })
        host.take()
        let chain: Chain | undefined
        wakesFirst(host, cpu, mode, () => {
          const bytes = new Uint8Array(socket.readableBytes)
          socket.receive(bytes)
          assert.deepEqual(bytes, text('second'))
          chain = host.stacks[cpu]!.context.cpu.tracer.where()
        })
        assertBegan(chain!, off)
      })
    })

    test(`what a program asks for is not caused by what its connection had before: ${how}`, () => {
      withHost({ cpus: 1 + programs, steer: 'first', seed: 4, discipline: 'connp-t', layers: [] }, (host) => {
        const cpu = host.programCpu
        const program = host.connect({ address: PEER, port: 80, noDelay: true }, cpu)
        const peer = Peer.accept(host, {})
        program.expect('connect')
        const { socket } = program
        socket.onReadable = () => socket.receive(new Uint8Array(socket.readableBytes))
        traced(host, 'all')
        peer.send('PA', { data: text('first') })
        traced(host, 'off')
        const off = host.nowUs
        peer.send('PA', { data: text('second') })
        host.run(LONG_US)
        host.take()
        wakesFirst(host, cpu, mode, () => socket.shutdown())
        assertBegan(chainOf(host, peer.expect('FA', {}).sent.trace), off)
      })
    })

    test(`bytes that were written in mode off are of no write before: ${how}`, () => {
      withHost({ cpus: 1, programs, seed: 4, discipline: 'connp-t', layers: [] }, (host) => {
        const program = host.connect({ address: PEER, port: 80, noDelay: true }, host.programCpu)
        const peer = Peer.accept(host, { window: 0 })
        program.expect('connect')
        traced(host, 'all')
        program.do((socket) => {
          socket.send(text('a'))
        })
        traced(host, 'off')
        const off = host.nowUs
        program.do((socket) => {
          socket.send(text('b'))
        })
        peer.send('A', { window: 1 })
        peer.expect('A', { data: text('a') })
        // The connection's CPU sees the mode first, by the packet.
        host.tester.timers.after(LONG_US + 40_000, () => host.postPacket(peer.packet('A', { window: 1000 })))
        wakesFirst(host, 0, mode, () => {})
        const [sent] = host.take().filter(({ tcp, bytes }) => tcp !== undefined && bytes.at(-1) === text('b')[0])
        assertBegan(chainOf(host, sent!.trace), off)
      })
    })
  }
}
