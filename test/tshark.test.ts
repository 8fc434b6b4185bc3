// What another reader finds in our captures: tshark dissects TCP under losses with all that happens there, UDP, ICMP and fragments, both ways,
// checks every checksum, and has nothing malformed and no bad checksum to tell of.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type WireOptions, wireRegions } from '../src/device/wire.ts'
import { simulate } from '../src/machine/sim.ts'
import { echo } from '../src/service/echo.ts'
import { type HostConfig, Stack, type TcpSocket } from '../src/stack.ts'

const LIMIT_MS = 60_000
/** tshark checks no checksum unless it is told to. */
const CHECKS = ['ip.check_checksum', 'tcp.check_checksum', 'udp.check_checksum']
const BYTES = 200_000
/** Ports that tshark knows no protocol of: what it would make of our bytes is not the question. */
const ECHO_PORT = 31_007
const STREAM_PORT = 31_080
/** Nor do these bytes look like any. */
const FILLER = new Uint8Array(8192).fill(0x78)

/** What is asked for of each frame. */
const FIELDS = [
  'frame.number',
  'arp.opcode',
  'ip.flags.mf',
  'ip.fragment.count',
  'ip.checksum.status',
  'udp.length',
  'udp.checksum.status',
  'icmp.type',
  'icmp.checksum.status',
  'tcp.dstport',
  'tcp.len',
  'tcp.flags',
  'tcp.options.sack_le',
  'tcp.options.timestamp.tsval',
  'tcp.analysis.retransmission',
  'tcp.checksum.status',
  '_ws.malformed',
  '_ws.short',
  '_ws.expert.group',
  '_ws.expert.message',
] as const
type Frame = { readonly [Field in (typeof FIELDS)[number]]: string }
/** Of a checksum's status. */
const BAD = '0'
const GOOD = '1'

describe('tshark', { skip: existsSync('/usr/bin/tshark') ? false : 'tshark is not installed' }, () => {
  for (const extension of ['pcap', 'pcapng']) {
    describe(`reads our ${extension}, and`, () => {
      let root: string
      let frames: readonly Frame[]
      before(() => {
        root = mkdtempSync(join(tmpdir(), 'df-'))
        const path = join(root, `talk.${extension}`)
        talk(path)
        frames = dissect(path)
      })
      after(() => rmSync(root, { recursive: true, force: true }))
      const count = (is: (frame: Frame) => boolean) => frames.filter(is).length
      const hasFlag = (frame: Frame, flag: number) =>
        frame['tcp.flags'] !== '' && (Number(frame['tcp.flags']) & flag) !== 0

      test('finds all that was said', () => {
        const said: { readonly [what: string]: (frame: Frame) => boolean } = {
          arp: (frame) => frame['arp.opcode'] !== '',
          syn: (frame) => hasFlag(frame, 2),
          fin: (frame) => hasFlag(frame, 1),
          reset: (frame) => hasFlag(frame, 4),
          sack: (frame) => frame['tcp.options.sack_le'] !== '',
          timestamps: (frame) => frame['tcp.options.timestamp.tsval'] !== '',
          retransmission: (frame) => frame['tcp.analysis.retransmission'] !== '',
          udp: (frame) => frame['udp.length'] !== '',
          echo: (frame) => frame['icmp.type'] === '8',
          'echo reply': (frame) => frame['icmp.type'] === '0',
          unreachable: (frame) => frame['icmp.type'].startsWith('3'),
          fragments: (frame) => frame['ip.flags.mf'] === '1',
          'fragments that became whole': (frame) => frame['ip.fragment.count'] !== '',
        }
        for (const [what, is] of Object.entries(said)) assert(count(is) > 0, what)
      })

      test('finds nothing malformed, and no checksum that is wrong', () => {
        const wrong = frames.filter(
          (frame) =>
            frame['_ws.malformed'] + frame['_ws.short'] !== '' ||
            /malformed|checksum/i.test(frame['_ws.expert.message']),
        )
        assert.deepEqual(wrong, [])
        for (const protocol of ['ip', 'udp', 'icmp', 'tcp'] as const) {
          const status = (frame: Frame) => frame[`${protocol}.checksum.status`].split(',')[0]
          assert.equal(
            count((frame) => status(frame) === BAD),
            0,
            protocol,
          )
          assert(count((frame) => status(frame) === GOOD) > 10, `checksums of ${protocol} are looked at`)
        }
      })

      test('finds the streams whole', () => {
        const isNew = (frame: Frame) =>
          frame['tcp.dstport'] === `${STREAM_PORT}` && frame['tcp.analysis.retransmission'] === ''
        const bytes = frames.filter(isNew).reduce((sum, frame) => sum + Number(frame['tcp.len']), 0)
        assert(bytes > BYTES, `${bytes} bytes`)
      })
    })
  }
})

/** What tshark says of each frame of a file. */
function dissect(path: string): Frame[] {
  const options = CHECKS.flatMap((name) => ['-o', `${name}:TRUE`])
  const columns = FIELDS.flatMap((name) => ['-e', name])
  const args = ['-r', path, '-n', ...options, '-T', 'fields', ...columns]
  const printed = execFileSync('tshark', args, {
    encoding: 'utf8',
    timeout: LIMIT_MS,
    stdio: 'pipe',
    maxBuffer: 64 * 1024 * 1024,
  })
  return printed
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t')
      return Object.fromEntries(FIELDS.map((field, i) => [field, values[i] ?? ''])) as Frame
    })
}

/** Two hosts over a link that loses and reorders; what passes the client's end is recorded. */
function talk(path: string): void {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const machine = simulate({ cpus: 2, seed: 5, memoryBytes: 32 * 1024 * 1024, regions: wireRegions(wire) })
  const host = (name: string, index: number, side: 'a' | 'b'): HostConfig => {
    const plain = { kind: 'wire', wire, side } as const
    const bad = { kind: 'fault', of: plain, loss: 0.02, reorder: 0.03, delayUs: 3000, direction: 'out' } as const
    const device = side === 'b' ? ({ kind: 'capture', of: bad, path, wallUs: 1_700_000_000_000_000 } as const) : bad
    return { name, index, cpus: [index], interfaces: [{ name: 'w', device, addresses: [`10.0.0.${index + 1}/24`] }] }
  }
  const [server, client] = machine.cpus.map((cpu, i) => {
    const stack = new Stack(cpu, host(`h${i}`, i, i === 0 ? 'a' : 'b'))
    cpu.threads.start('host', function* (this: void, thread) {
      yield* stack.start(thread)
      if (i === 0) serve(stack)
      else ask(stack)
    })
    return stack
  })
  assert(server !== undefined && client !== undefined)
  machine.run({ untilUs: 60e6 })
  machine.stop().catch(() => {})
}

function serve(stack: Stack): void {
  echo(stack, ECHO_PORT, (error) => assert.equal(error, undefined))
  stack.tcp.listen({ port: STREAM_PORT }, (error, listener) => {
    assert.equal(error, undefined)
    listener.onConnection = (socket) => readAll(socket)
  })
}

function ask(stack: Stack): void {
  const { cpu, mbufs } = stack.context
  const target = stack.endpoint('10.0.0.1', ECHO_PORT)
  const nobody = stack.endpoint('10.0.0.1', 31_009)
  cpu.onStop(() => {
    target.free()
    nobody.free()
  })
  const socket = stack.udp.open(
    {
      port: 5000,
      onReadable: (socket) => {
        for (let packet = socket.receive(); packet !== 0; packet = socket.receive()) mbufs.free(packet)
      },
      onError: () => {},
    },
    () => {
      for (let i = 0; i < 20; i++) {
        cpu.timers.after(i * 10_000, () => {
          for (const size of [0, 1, 100, 1472, 1473, 4000]) socket.sendBytes(FILLER.subarray(0, size), target)
          socket.sendBytes(FILLER.subarray(0, 10), nobody)
          stack.icmp.echo.send(target, 1, i, i % 2 === 0 ? 56 : 3000)
        })
      }
    },
  )
  for (let i = 0; i < 3; i++) {
    const stream = stack.tcp.connect({ address: '10.0.0.1', port: STREAM_PORT })
    let left = BYTES
    const write = () => {
      while (left > 0) {
        const taken = stream.send(FILLER.subarray(0, Math.min(left, FILLER.length)))
        if (taken === 0) return
        left -= taken
      }
      stream.shutdown()
    }
    stream.onConnect = write
    stream.onWritable = write
    readAll(stream)
  }
  // Nobody listens there.
  const refused = stack.tcp.connect({ address: '10.0.0.1', port: 31_081 })
  refused.onConnect = () => refused.close()
}

function readAll(socket: TcpSocket): void {
  const buffer = new Uint8Array(8192)
  socket.onReadable = () => {
    while (socket.receive(buffer) > 0);
    if (socket.ended) socket.close()
  }
  socket.onError = () => socket.close()
}
