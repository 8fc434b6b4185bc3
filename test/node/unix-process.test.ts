// UNIX-domain sockets between two processes: whose trace a reader is told, what a peer that knows nothing of traces reads, and that no
// sender, however hostile, leaves a descriptor behind. Each process counts its own.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { libcUnavailable } from '../../src/device/linux/library.ts'
import type { Chain } from '../../src/kernel/trace/chain.ts'
import { encodeChain } from '../../src/kernel/trace/wire.ts'
import type { Refusal } from '../../src/node/unix/main.ts'
import { DESCRIPTORS_MAX, HostileSender } from '../../src/node/unix/testing/hostile.ts'
import { Peer } from '../../src/node/unix/testing/peer.ts'
import { event } from './world.ts'

const skip = libcUnavailable()
const LARGE = 8 * 1024 * 1024
/** F_SEAL_SEAL, SHRINK, GROW, WRITE. */
const SEALED = 0xf
const CHAIN: Chain = {
  hops: [{ kind: 'process', cpu: 0, to: '', atUs: 0, id: 0, process: { pid: 1, title: 'test' }, frames: [] }],
  end: 'origin',
}

let folder = ''
let paths = 0
const newPath = () => join(folder, `${++paths}.sock`)
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('two processes', { skip, concurrency: false }, () => {
  /** Processes that wait for the next test: to start one takes longer than all that it does. */
  const idle = { unix: [] as Peer[], net: [] as Peer[] }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'damselfly-unix-'))
  })
  after(async () => {
    await Promise.all([...idle.unix, ...idle.net].map((peer) => peer.end()))
    rmSync(folder, { recursive: true })
  })

  /** Runs with processes, which wait for the next one afterwards, or end. */
  async function using(kinds: readonly ('unix' | 'net')[], body: (peers: Peer[]) => Promise<void>): Promise<void> {
    const peers = kinds.map((kind) => idle[kind].pop() ?? new Peer(kind))
    let isDone = false
    try {
      await body(peers)
      isDone = true
    } finally {
      for (const [i, peer] of peers.entries()) {
        if (isDone && peer.child.connected) {
          await peer.order({ do: 'reset' })
          idle[kinds[i]!].push(peer)
        } else await peer.end()
      }
    }
  }

  /** With a connection between two. */
  function between(
    server: 'unix' | 'net',
    client: 'unix' | 'net',
    body: (server: Peer, client: Peer) => Promise<void>,
    paused = false,
  ): Promise<void> {
    return using([server, client], async ([listening, connected]) => {
      const path = newPath()
      await listening!.order({ do: 'listen', path, paused })
      await connected!.order({ do: 'connect', path, paused })
      await listening!.until(({ open }) => open === 1)
      await body(listening!, connected!)
    })
  }

  test('each is told the stack from which the other has written', { timeout: 20_000 }, async () => {
    await between('unix', 'unix', async (server, client) => {
      for (const [writer, reader] of [
        [client, server],
        [server, client],
      ] as const) {
        await writer.order({ do: 'write', texts: ['hello'] })
        const { traces, statistics } = await reader.until(({ bytes }) => bytes === 5)
        const [hop] = traces[0]!.hops
        assert.equal(hop!.kind, 'process')
        assert.equal(hop!.process!.pid, writer.child.pid)
        assert.equal(hop!.frames[0]!.function, 'writeForTheTest')
        assert.match(hop!.frames[0]!.file, /peer-program/)
        assert(hop!.frames.every(({ file }) => !/unix\/(socket|handle|loop)/.test(file)))
        assert.equal(statistics!.received, 1)
      }
    })
  })

  for (const [server, client] of [
    ['unix', 'unix'],
    ['unix', 'net'],
    ['net', 'unix'],
  ] as const) {
    test(`much arrives whole, with a server of ${server} and a client of ${client}`, { timeout: 20_000 }, async () => {
      await between(server, client, async (listening, connected) => {
        const before = [await listening.state(), await connected.state()]
        await Promise.all([listening, connected].map((peer) => peer.order({ do: 'writeBytes', bytes: LARGE })))
        const expected = digest(Buffer.alloc(LARGE, 'abcdefg'))
        for (const [i, peer] of [listening, connected].entries()) {
          const state = await peer.until(({ bytes }) => bytes === LARGE)
          assert.equal(state.digest, expected)
          // The sender keeps one, of its trace.
          assert(state.descriptors <= before[i]!.descriptors + 1)
          if (server === client) assert.equal(state.statistics!.received, LARGE / 32_768)
        }
      })
    })
  }

  for (const [server, client] of [
    ['net', 'unix'],
    ['unix', 'net'],
  ] as const) {
    for (const ending of ['end', 'destroy', 'exit'] as const) {
      const title = `a reader of ${server === 'net' ? 'a server' : 'a client'} on net that begins late reads all of many writes, whose writer did ${ending}`
      test(title, { timeout: 20_000 }, async () => {
        await between(
          server,
          client,
          async (listening, connected) => {
            const [writer, reader] = server === 'unix' ? [listening, connected] : [connected, listening]
            const { descriptors } = await reader.state()
            // More than a stream of Node's reads ahead.
            const texts = Array.from({ length: 100 }, (_, i) => `text ${i};`.padEnd(500, '.'))
            await writer.order({ do: 'write', texts })
            const ended = event(writer.child, 'exit')
            await writer.order({ do: ending })
            await reader.order({ do: 'resume' })
            const { bytes, digest: got, events } = await reader.until((state) => state.events.includes('close'))
            assert.deepEqual([bytes, got], [texts.join('').length, digest(Buffer.from(texts.join('')))])
            assert.deepEqual(events, ['end', 'close'])
            assert.equal((await reader.until(({ open }) => open === 0)).descriptors, descriptors - 1)
            if (ending === 'exit') await ended
          },
          true,
        )
      })
    }
  }

  test('a writer on net gives no trace', { timeout: 20_000 }, async () => {
    await between('unix', 'net', async (server, client) => {
      await client.order({ do: 'write', texts: ['plain'] })
      const { traces, statistics } = await server.until(({ bytes }) => bytes === 5)
      assert.deepEqual([traces, statistics!.received], [[null], 0])
    })
  })

  test('whose peer is killed is told the end, and keeps nothing', { timeout: 20_000 }, async () => {
    await between('unix', 'unix', async (server, client) => {
      const { descriptors } = await server.state()
      await client.order({ do: 'write', texts: ['last words'] })
      await client.end('SIGKILL')
      const { events, bytes } = await server.until(({ open }) => open === 0)
      assert.deepEqual([bytes, events], [10, ['end', 'close']])
      assert.equal((await server.state()).descriptors, descriptors - 1)
    })
  })

  // Hostile senders.

  function attacked(body: (victim: Peer, sender: HostileSender, path: string) => Promise<void>): Promise<void> {
    return using(['unix'], async ([victim]) => {
      const path = newPath()
      await victim!.order({ do: 'listen', path })
      const { descriptors } = await victim!.state()
      const sender = new HostileSender(path)
      await victim!.until(({ open }) => open === 1)
      try {
        await body(victim!, sender, path)
        const { descriptors: now } = await victim!.until((state) => state.descriptors <= descriptors + 1)
        assert.equal(now, descriptors + 1, 'its connection is all that there is more')
      } finally {
        sender.close()
      }
      await victim!.until(({ open }) => open === 0)
      assert.equal((await victim!.state()).descriptors, descriptors)
    })
  }

  const valid = (sender: HostileSender) => sender.memory(encodeChain(CHAIN), SEALED)
  const attacks: readonly (readonly [name: string, reason: Refusal, make: (sender: HostileSender) => number[]])[] = [
    ['two good traces at once', 'count', (sender) => [valid(sender), valid(sender)]],
    ['as many as can be sent', 'count', (sender) => new Array(DESCRIPTORS_MAX).fill(valid(sender))],
    ['as many files that may block', 'count', (sender) => new Array(DESCRIPTORS_MAX).fill(sender.open('/dev/zero', 0))],
    ['a device', 'seals', (sender) => [sender.open('/dev/zero', 0)]],
    ['a terminal', 'seals', (sender) => [sender.open('/dev/ptmx', 2)]],
    ['a folder', 'seals', (sender) => [sender.open('/', 0)]],
    ['a path without rights (O_PATH)', 'seals', (sender) => [sender.open('/', 0o10000000)]],
    [
      'a pipe that nobody writes to',
      'seals',
      (sender) => {
        const pair = new Int32Array(2)
        sender.system.declare('int pipe(uintptr_t)')(sender.system.pointer(new Uint8Array(pair.buffer)))
        return [sender.keep(pair[0]!), sender.keep(pair[1]!)].slice(0, 1)
      },
    ],
    ['the connection itself', 'seals', (sender) => [sender.descriptor]],
    ['a file in memory without seals', 'seals', (sender) => [sender.memory(encodeChain(CHAIN), 0)]],
    ['one that can still be written', 'seals', (sender) => [sender.memory(encodeChain(CHAIN), SEALED & ~0x8)]],
    ['one that can still grow', 'seals', (sender) => [sender.memory(encodeChain(CHAIN), SEALED & ~0x4)]],
    ['one whose seals are not final', 'seals', (sender) => [sender.memory(encodeChain(CHAIN), SEALED & ~0x1)]],
    ['an empty one', 'size', (sender) => [sender.memory('', SEALED)]],
    ['one that is a byte too long', 'size', (sender) => [sender.memory('', SEALED, 65_537)]],
    ['a huge one that is nowhere', 'size', (sender) => [sender.memory('', SEALED, 2 ** 40)]],
    ['one with 8 MiB in it', 'size', (sender) => [sender.memory(new Uint8Array(8 * 1024 * 1024), SEALED)]],
    [
      'one that may only be written',
      'unreadable',
      (sender) =>
        [sender.open(`/proc/self/fd/${sender.memory(encodeChain(CHAIN), 0)}`, 1)].map((descriptor) => {
          sender.system.fcntl(descriptor, 1033, SEALED)
          return descriptor
        }),
    ],
    ['no text', 'content', (sender) => [sender.memory(new Uint8Array([0xff, 0xfe]), SEALED)]],
    ['nothing but zeros', 'content', (sender) => [sender.memory('', SEALED, 65_536)]],
    ['deep nesting', 'content', (sender) => [sender.memory('['.repeat(65_536), SEALED)]],
    [
      'another version',
      'content',
      (sender) => [sender.memory('{"format":"damselfly-trace-2","end":"origin","hops":[]}', SEALED)],
    ],
  ]

  test('what no trace is made of is refused by its reason, its bytes are read, and nothing stays', {
    timeout: 20_000,
  }, async () => {
    await attacked(async (victim, sender) => {
      const refused: Partial<Record<Refusal, number>> = {}
      let bytes = 0
      for (const [name, reason, make] of attacks) {
        assert.equal(sender.send('attack', make(sender)), 6, name)
        bytes += 6
        refused[reason] = (refused[reason] ?? 0) + 1
        const state = await victim.until((state) => state.bytes === bytes)
        assert.equal(state.statistics!.refused[reason], refused[reason], name)
        assert.equal(state.traces.at(-1), null, name)
      }
      // And whoever behaves is heard.
      assert.equal(sender.send('greets', [valid(sender)]), 6)
      const { statistics, traces } = await victim.until((state) => state.bytes === bytes + 6)
      assert.equal(statistics!.received, 1)
      assert.deepEqual(traces.at(-1), CHAIN)
      assert.equal(
        Object.values(statistics!.refused).reduce((sum, count) => sum + count),
        attacks.length,
      )
    })
  })

  test('too many are closed unread, and their bytes are read', { timeout: 20_000 }, async () => {
    await attacked(async (victim, sender) => {
      const files = Array.from({ length: 400 }, (_, i) => sender.memory(`no trace ${i}`, SEALED))
      let sent = 0
      for (const file of files) {
        while (sender.send('x', [file]) !== 1) await victim.state()
        sent++
      }
      const { statistics } = await victim.until(({ bytes }) => bytes === sent)
      const { content, rate } = statistics!.refused
      assert.equal(content + rate, 400)
      assert(content >= 100, 'a burst is looked at')
    })
  })

  test('the same trace again and again does not count', { timeout: 20_000 }, async () => {
    await attacked(async (victim, sender) => {
      const file = valid(sender)
      for (let i = 0; i < 500; i++) while (sender.send('x', [file]) !== 1) await victim.state()
      const { statistics } = await victim.until(({ bytes }) => bytes === 500)
      assert.equal(statistics!.received, 500)
    })
  })

  test('a descriptor whose closing takes time does not hold the others up', { timeout: 20_000 }, async () => {
    await attacked(async (victim, sender) => {
      // A TCP socket that lingers, whose peer reads nothing: its last close waits for a second.
      const peers: { destroy(): void }[] = []
      const silent = createServer({ pauseOnConnect: true }, (socket) => peers.push(socket)).listen(0, '127.0.0.1')
      await event(silent, 'listening')
      const lingering = lingeringSocket(sender, (silent.address() as { port: number }).port)
      const { descriptors } = await victim.state()
      // Stopped, so that it has the last one of the socket's descriptors.
      victim.child.kill('SIGSTOP')
      assert.equal(sender.send('linger', [lingering]), 6)
      const behind = sender.open('/dev/zero', 0)
      sender.system.close(lingering)
      victim.child.kill('SIGCONT')
      const { statistics } = await victim.until(({ bytes }) => bytes === 6)
      assert.equal(statistics!.refused.seals, 1)
      assert.equal(sender.send('behind', [behind]), 6)
      assert.equal(sender.send('next', [valid(sender)]), 4)
      const state = await victim.until(({ bytes }) => bytes === 16)
      assert.deepEqual(state.traces.at(-1), CHAIN)
      assert.equal(state.descriptors, descriptors + 1, 'what came behind it still waits to be closed')
      silent.close()
      for (const peer of peers) peer.destroy()
    })
  })

  test('descriptors that nobody has read are closed with the connection', { timeout: 20_000 }, async () => {
    await using(['unix'], async ([victim]) => {
      const path = newPath()
      await victim!.order({ do: 'listen', path, paused: true })
      const { descriptors } = await victim!.state()
      const sender = new HostileSender(path)
      await victim!.until(({ open }) => open === 1)
      for (let i = 0; i < 20; i++) sender.send('unread', new Array(DESCRIPTORS_MAX).fill(valid(sender)))
      await victim!.order({ do: 'destroy' })
      assert.equal((await victim!.until(({ open }) => open === 0)).descriptors, descriptors)
      sender.close()
    })
  })

  test('a process without a free descriptor reads and writes on, without traces', { timeout: 20_000 }, async () => {
    await attacked(async (victim, sender) => {
      await victim.order({ do: 'limit', on: true })
      sender.send('limit', [valid(sender)])
      await victim.order({ do: 'write', texts: ['it writes on'] })
      const room = new Uint8Array(100)
      assert.equal(sender.system.read(sender.descriptor, sender.system.pointer(room), 100), 12)
      await victim.order({ do: 'limit', on: false })
      const { bytes, statistics } = await victim.until((state) => state.bytes === 5)
      assert.deepEqual([bytes, statistics!.refused.descriptors, statistics!.unsent, statistics!.sent], [5, 1, 1, 0])
    })
  })

  test('it lets connections wait until it has one', { timeout: 20_000 }, async () => {
    await attacked(async (victim, _sender, path) => {
      await victim.order({ do: 'limit', on: true })
      const other = new HostileSender(path)
      other.send('waits', [])
      await victim.order({ do: 'limit', on: false })
      await victim.until(({ open, bytes }) => open === 2 && bytes === 5)
      other.close()
      await victim.until(({ open }) => open === 1)
    })
  })

  test('a process that ends removes the path of its server', { timeout: 20_000 }, async () => {
    await using(['unix'], async ([peer]) => {
      const path = newPath()
      await peer!.order({ do: 'listen', path })
      assert(existsSync(path))
      const ended = event(peer!.child, 'exit')
      await peer!.order({ do: 'exit' })
      await ended
      assert.equal(peer!.child.exitCode, 0)
      assert(!existsSync(path))
    })
  })
})

/** Connected, with more to be sent than anybody takes. */
function lingeringSocket(sender: HostileSender, port: number): number {
  const { system } = sender
  const descriptor = system.socket(2, 1, 0)
  const address = new Uint8Array(16)
  new DataView(address.buffer).setUint16(0, 2, true)
  new DataView(address.buffer).setUint16(2, port)
  address.set([127, 0, 0, 1], 4)
  assert.equal(system.declare('int connect(int, uintptr_t, unsigned int)')(descriptor, system.pointer(address), 16), 0)
  const linger = new Int32Array([1, 1])
  const setsockopt = system.declare('int setsockopt(int, int, int, uintptr_t, unsigned int)')
  setsockopt(descriptor, 1, 13, system.pointer(new Uint8Array(linger.buffer)), 8)
  system.fcntl(descriptor, 4, 0o4000)
  const bytes = new Uint8Array(1024 * 1024)
  while (system.write(descriptor, system.pointer(bytes), bytes.length) > 0);
  return descriptor
}
