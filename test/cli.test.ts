// The command as its users see it: a child process, what it prints, how it ends and what it leaves behind.
import assert from 'node:assert/strict'
import { type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { type Snapshot, sum } from '../src/cli/snapshot.ts'
import { LinkType } from '../src/device/pcap/format.ts'
import { readCapture } from '../src/device/pcap/reader.ts'
import { Command, type Ended, environment, MAIN, until } from './command.ts'

const user = process.getuid?.() ?? 0
const NODE = [process.execPath, '--enable-source-maps', ...process.execArgv] as const
/** One datagram at a time on each CPU. */
const FEW = ['--flows', '1', '--window', '1'] as const

let root: string
before(() => {
  root = mkdtempSync(join(tmpdir(), 'df-'))
})
after(() => rmSync(root, { recursive: true, force: true }))

/** Each test has sockets of its own, so that they can run at the same time as other tests and other people's instances. */
class Place {
  readonly runtime: string
  readonly sockets: string
  readonly #variables: NodeJS.ProcessEnv

  constructor(variables?: (runtime: string) => NodeJS.ProcessEnv) {
    this.runtime = mkdtempSync(join(root, 'x'))
    this.sockets = join(this.runtime, `damselfly-${user}`)
    this.#variables = environment(variables?.(this.runtime) ?? { XDG_RUNTIME_DIR: this.runtime })
  }

  start(
    t: TestContext,
    args: readonly string[],
    prefix: readonly string[] = NODE,
    options: SpawnOptions = {},
  ): Command {
    const [program, ...rest] = [...prefix, MAIN, ...args]
    const child = spawn(program!, rest, { env: this.#variables, stdio: ['ignore', 'pipe', 'pipe'], ...options })
    t.after(() => child.kill('SIGKILL'))
    return new Command(child)
  }

  run(t: TestContext, args: readonly string[], prefix?: readonly string[], options?: SpawnOptions): Promise<Ended> {
    return this.start(t, args, prefix, options).ended
  }

  /** One that runs until a signal, and can be asked. One CPU that pings, but for what `args` say: it leaves the processors to others. */
  async running(t: TestContext, ...args: readonly string[]): Promise<Command> {
    const command = this.start(t, ['up', '--seconds', '60', '--cpus', '1', '--flows', '0', ...args])
    await until('its control socket', () => existsSync(this.socket(command.pid)) || hasEnded(command))
    assert(!hasEnded(command), command.stderr)
    return command
  }

  socket(pid: number): string {
    return join(this.sockets, `${pid}.sock`)
  }

  /** What is left of instances. */
  left(): string[] {
    return existsSync(this.sockets) ? readdirSync(this.sockets) : []
  }
}

const hasEnded = ({ child }: Command) => child.exitCode !== null || child.signalCode !== null
const numberIn = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1]?.replaceAll(' ', ''))

function assertTables(text: string): void {
  assert(numberIn(text, /^([\d ]+) packets delivered, /m) > 0, text)
  assert.match(text, /^point +cpu +enqueued +dequeued +dropped +depth /m)
  assert.match(text, /^rx +(all|\d+ → \d+) +[1-9]/m)
  assert.match(text, /^cost +in all +per delivered packet$/m)
  assert.match(text, /^queue operations +[\d ]+ +\d+\.\d{4}$/m)
  assert.match(text, /^cpu 0 +[\d ]+/m)
}

function assertWell({ code, signal, stderr }: Ended): void {
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
}

/** A sentence for the user, and not for those who wrote it. */
function assertSentence({ code, stderr, stdout }: Ended, sentence: RegExp): void {
  assert.match(stderr, sentence)
  assert.equal(stderr.trim().split('\n').length, 1, stderr)
  assert.equal(code, 1)
  assert.equal(stdout, '')
}

describe('damselfly up', { concurrency: 3 }, () => {
  test('prints the hand-off table and what a delivered packet cost', async (t) => {
    const place = new Place()
    const ended = await place.run(t, ['up', '--seconds', '1', '--flows', '0', '--seed', '7'])
    assertWell(ended)
    assertTables(ended.stdout)
    assert.match(ended.stdout, /^UDP echo and ping over an in-memory wire, 2 CPUs, seed 7$/m)
    assert.match(ended.stdout, /^ring +all +[1-9]/m)
    assert.deepEqual(place.left(), [])
  })

  test('is what damselfly alone does, also by its options alone', async (t) => {
    const ended = await new Place().run(t, ['--seconds=1', '--cpus=1', '--flows=0'])
    assertWell(ended)
    assertTables(ended.stdout)
    assert.match(ended.stdout, /, 1 CPU, seed \d+$/m)
  })

  test('keeps the CPUs apart with --pairs, and shows the memory with --layout', async (t) => {
    const ended = await new Place().run(t, ['up', '--seconds', '1', '--pairs', '--layout'])
    assertWell(ended)
    assertTables(ended.stdout)
    for (const pair of ['0 → 0', '0 → 1', '1 → 0', '1 → 1'])
      assert.match(ended.stdout, new RegExp(`^rx +${pair} `, 'm'))
    const [layout] = ended.stdout.split('packets delivered')
    assert.match(layout!, /wire0/)
  })

  test('prints one JSON document with --json, whose accounts balance as far as those of a running machine can', async (t) => {
    const ended = await new Place().run(t, ['up', '--seconds', '1', '--json'])
    assertWell(ended)
    const snapshot = JSON.parse(ended.stdout) as Snapshot
    assert.equal(snapshot.version, 1)
    assert.equal(snapshot.cpus, 2)
    assert.equal(snapshot.counters.length, 2)
    assert(snapshot.atUs >= 1e6)
    const count = (name: string) => sum(snapshot, name)
    // The counts are read while the CPUs go on: what passes meanwhile is in one and not yet in the other.
    const close = (a: number, b: number) => assert(Math.abs(a - b) <= 0.02 * Math.max(a, b) + 1000, `${a} and ${b}`)
    assert(count('load.answered') > 0)
    assert.equal(count('load.wrong'), 0)
    close(count('udp.received'), count('udp.delivered') + count('udp.noPort'))
    close(count('ip.received'), count('ip.delivered'))
    close(count('ether.received'), count('ether.ip') + count('ether.arp'))
    close(count('cpu.ipisSent'), count('cpu.ipisReceived'))
    close(count('echo.echoed'), count('load.answered'))
    for (const { point, enqueued, dequeued } of snapshot.handoffs) {
      if (point === 'rx' || point === 'ring') close(enqueued, dequeued)
    }
  })

  test('runs under the discipline that it is told, and tells of it', async (t) => {
    const few = [...FEW, '--seed', '1']
    const args = ['up', '--discipline', 'connp-l', '--groups', '4', '--seconds', '1', '--json', ...few]
    const ended = await new Place().run(t, args)
    assertWell(ended)
    const snapshot = JSON.parse(ended.stdout) as Snapshot
    assert.equal(snapshot.title, 'UDP echo and ping over an in-memory wire, 2 CPUs')
    assert.deepEqual([snapshot.discipline, snapshot.groups], ['connp-l', 4])
    assert(sum(snapshot, 'ip.delivered') > 0)
    assert(sum(snapshot, 'load.answered') > 0)
    assert.equal(sum(snapshot, 'load.wrong'), 0)
  })

  test('has the dispatch and the layers that it is told, and tells of them', async (t) => {
    const few = [...FEW, '--seed', '1', '--seconds', '1', '--json']
    const ended = await new Place().run(t, ['up', '--dispatch', 'ip=hybrid', '--layers', 'tcp,ether', ...few])
    assertWell(ended)
    const snapshot = JSON.parse(ended.stdout) as Snapshot
    assert.deepEqual(snapshot.layers, ['ether', 'tcp'])
    assert.deepEqual(
      ['ether', 'arp', 'ip', 'udp', 'tcp'].map((protocol) => snapshot.dispatch?.[protocol]),
      ['deferred', 'direct', 'hybrid', 'deferred', 'deferred'],
    )
    assert(sum(snapshot, 'load.answered') > 0)
    assert(sum(snapshot, 'netisr.queuedUdp') > 0)
    assert(snapshot.handoffs.some(({ point, dequeued }) => point === 'transport' && dequeued > 0))
  })

  test('exchanges packets over a link that loses one of ten', async (t) => {
    const place = new Place()
    const command = await place.running(t, '--cpus', '2', '--loss', '0.1', '--flows', '16', '--window', '16')
    // The first ARP requests may be among the lost: so for as long as it takes.
    await until('answers over a bad link', async () => {
      const ended = await place.run(t, ['stat', '--json'])
      assertWell(ended)
      const now = JSON.parse(ended.stdout) as Snapshot
      return sum(now, 'fault.lost') > 100 && sum(now, 'load.answered') > 1000
    })
    const { stdout, code } = await command.end('SIGINT')
    assert.equal(code, 130)
    assertTables(stdout)
  })

  for (const format of ['pcapng', 'pcap'] as const) {
    test(`records what passes each queue in a ${format} file of its own`, async (t) => {
      const folder = mkdtempSync(join(root, 'pcap'))
      const few = ['--seconds', '1', ...FEW, '--seed', '1']
      assertWell(await new Place().run(t, ['up', ...few, '--pcap', join(folder, `x.${format}`)]))
      assert.deepEqual(readdirSync(folder).sort(), [`x-0.${format}`, `x-1.${format}`])
      const seen = new Set<string>()
      for (const file of readdirSync(folder)) {
        const capture = readCapture(readFileSync(join(folder, file)), file)
        assert.equal(capture.format, format)
        for (const packet of capture.packets()) {
          assert.equal(packet.linkType, LinkType.ETHERNET)
          seen.add(`${packet.direction ?? ''} ${kindOf(packet.data)}`.trim())
        }
        assert.equal(capture.truncated, false)
      }
      const [to, from] = format === 'pcapng' ? ['out ', 'in '] : ['', '']
      for (const kind of ['udp to 7', 'ping']) assert(seen.has(to + kind), [...seen].join(', '))
      for (const kind of ['udp from 7', 'pong']) assert(seen.has(from + kind), [...seen].join(', '))
    })
  }

  test('says what is wrong with a file that it cannot record to', async (t) => {
    const path = join(root, 'nowhere', 'x.pcapng')
    assertSentence(
      await new Place().run(t, ['up', '--seconds', '1', '--pcap', path]),
      /nowhere.*no such file or folder/,
    )
  })

  test('ends, with the reason, when a CPU throws', async (t) => {
    const throwing = `data:text/javascript,${encodeURIComponent(`
      import { isMainThread } from 'node:worker_threads'
      const now = performance.now.bind(performance)
      if (!isMainThread) performance.now = () => {
        if (now() > 1000) throw new Error('the plug was pulled')
        return now()
      }`)}`
    const ended = await new Place().run(t, ['up', '--seconds', '20', '--flows', '0'], [...NODE, '--import', throwing])
    assert.equal(ended.code, 1)
    assert.match(ended.stderr, /CpuFailure: cpu \d threw .*: the plug was pulled/)
  })

  test('ends as other programs do when nobody reads its output any more', async (t) => {
    const place = new Place()
    const command = place.start(t, ['up', '--seconds', '5', '--flows', '0'])
    command.child.stdout!.destroy()
    const { code, stderr } = await command.ended
    assert.deepEqual({ code, stderr }, { code: 141, stderr: '' })
    assert.deepEqual(place.left(), [])
  })
})

/** What an Ethernet frame of the load carries. */
function kindOf(frame: Uint8Array): string {
  const word = (at: number) => frame[at]! * 256 + frame[at + 1]!
  if (word(12) === 0x0806) return 'arp'
  assert.equal(word(12), 0x0800)
  assert.equal(frame[14], 0x45)
  if (frame[23] === 1) return frame[34] === 8 ? 'ping' : 'pong'
  assert.equal(frame[23], 17)
  return word(34) === 7 ? 'udp from 7' : `udp to ${word(36)}`
}

describe('a wrong command line', () => {
  // All others are src/cli/command.test.ts's, which needs no process for them.
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['frobnicate'], /^damselfly: there is no command "frobnicate"$/],
    [['up', '--frob'], /Unknown option '--frob'/],
    [['run', '--layers', 'x', 'x.js'], /--layers \(DAMSELFLY_LAYERS\) names an unknown layer "x"/],
    [['discipline', '--groups', '3'], /--groups goes with connp-l: name it/],
    [['trace', '--stacks'], /--stacks goes with --packet/],
    [['stat', '--watch', '0'], /--watch is "0": give a number from 0.2 to 3600/],
  ]

  test('is exit code 2, the reason and the usage on stderr, and nothing else', async (t) => {
    const place = new Place()
    const left = cases.slice()
    // A few at a time: most of it is Node's own start.
    const worker = async () => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) {
        const [args, sentence] = next
        const { code, stdout, stderr } = await place.run(t, args)
        assert.match(stderr.split('\n')[0]!, sentence)
        assert.match(stderr, /\n {2}damselfly up \[options\] /)
        assert.doesNotMatch(stderr, /^ {4}at /m)
        assert.deepEqual({ args, code, stdout }, { args, code: 2, stdout: '' })
      }
    }
    await Promise.all([worker(), worker(), worker()])
    assert.deepEqual(readdirSync(place.runtime), [])
  })

  test('help is on stdout, and no mistake', async (t) => {
    const place = new Place()
    const all = [['help'], ['--help'], ['-h'], ['up', '--help'], ['stat', '-h']].map((args) => place.run(t, args))
    for (const ended of await Promise.all(all)) {
      assertWell(ended)
      assert.match(ended.stdout, /^damselfly: a multi-core TCP\/IP stack in user space\n[\s\S]*--watch N/)
    }
  })
})

describe('damselfly run', { concurrency: 2 }, () => {
  const program = `
    const http = require('node:http')
    const server = http.createServer((request, response) => response.end('served ' + request.url))
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      let left = 8
      const served = (text) => {
        console.log(text)
        if (--left === 0) server.close()
      }
      for (let i = 0; i < 8; i++) {
        http.get({ host: '127.0.0.1', port, path: '/' + i, agent: false }, async (response) => {
          let text = ''
          for await (const some of response.setEncoding('utf8')) text += some
          served(text)
        })
      }
    })
    console.log(process.env.DAMSELFLY_DISCIPLINE)`
  const answers = Array.from({ length: 8 }, (_, i) => `served /${i}`)

  for (const [args, told] of [
    [['--discipline', 'giant'], 'giant'],
    [['--discipline', 'msgp'], 'msgp'],
    [['--discipline', 'connp-l', '--groups', '4'], 'connp-l/4'],
    [[], 'connp-t'],
  ] as const) {
    test(`has an HTTP server on two CPUs answer its own program under ${told}`, async (t) => {
      const file = join(root, `http-${told.replace('/', '-')}.cjs`)
      writeFileSync(file, program)
      // Not what the environment says about these tests' own hosts.
      const place = new Place(() => ({ DAMSELFLY_DISCIPLINE: '', DAMSELFLY_GROUPS: '' }))
      const ended = await place.run(t, ['run', '--device', 'none', '--cpus', '2', ...args, file])
      assertWell(ended)
      // In any order: the connections are on two CPUs.
      assert.deepEqual(ended.stdout.trim().split('\n').sort(), [told, ...answers].sort())
    })
  }
})

describe('a signal', { concurrency: 3 }, () => {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} ends it with the tables and exit code ${exitCode}, and nothing is left`, async (t) => {
      const place = new Place()
      const command = await place.running(t)
      await until('packets', async () => !/^0 /m.test((await place.run(t, ['stat'])).stdout))
      const { code, stdout, stderr } = await command.end(signal)
      assert.deepEqual({ code, stderr }, { code: exitCode, stderr: '' })
      assertTables(stdout)
      assert.deepEqual(place.left(), [])
      assert.throws(() => process.kill(command.pid, 0), { code: 'ESRCH' })
    })
  }

  test('that comes twice, as from npm and the terminal, changes nothing', async (t) => {
    const place = new Place()
    const command = await place.running(t)
    command.child.kill('SIGINT')
    const { code, stdout } = await command.end('SIGINT')
    assert.equal(code, 130)
    assert.match(stdout, /^queue operations /m)
    assert.deepEqual(place.left(), [])
  })

  test('is enough, also while somebody asks and does not listen', async (t) => {
    const place = new Place()
    const command = await place.running(t)
    const silent = connect(place.socket(command.pid))
    t.after(() => silent.destroy())
    await once(silent, 'connect')
    silent.pause()
    assert.equal((await command.end('SIGINT')).code, 130)
    assert.deepEqual(place.left(), [])
  })
})

describe('damselfly discipline', { concurrency: 2 }, () => {
  test('changes that of an instance that runs, whose traffic goes on', async (t) => {
    const place = new Place()
    const command = await place.running(t, '--cpus', '2', ...FEW)
    const title = `UDP echo and ping over an in-memory wire, 2 CPUs \\(process ${command.pid}\\)`
    for (const [words, now] of [
      [[], 'connp-t'],
      [['giant'], 'giant'],
      [['connp-l', '--groups', '3'], 'connp-l, 3 connection groups'],
      [['msgp', '--pid', `${command.pid}`], 'msgp'],
    ] as const) {
      const ended = await place.run(t, ['discipline', ...words])
      assertWell(ended)
      assert.match(ended.stdout, new RegExp(`^${title}: ${now}\\n$`))
    }
    const answered = async () =>
      sum(JSON.parse((await place.run(t, ['stat', '--json'])).stdout) as Snapshot, 'load.answered')
    const before = await answered()
    await until('more answers', async () => (await answered()) > before)
    assert.match((await place.run(t, ['stat'])).stdout, /^ +discipline +msgp$/m)
  })

  test('changes that of a program on the stack', async (t) => {
    const place = new Place()
    const program = join(place.runtime, 'server.cjs')
    writeFileSync(program, "require('net').createServer().listen(80, () => console.log('packets'))")
    const command = place.start(t, ['run', '--device', 'none', program])
    await until('the program', async () => command.stdout.includes('packets'))
    const ended = await place.run(t, ['discipline', 'giant'])
    assertWell(ended)
    assert.match(ended.stdout, /^server\.cjs on 127\.0\.0\.1\/8 \(process \d+\): giant\n$/)
    assert.equal((await command.end('SIGTERM')).signal, 'SIGTERM')
  })
})

describe('damselfly trace', { concurrency: 2 }, () => {
  test('changes how much of an instance that runs is traced, and shows who sent what waits in its ports', async (t) => {
    const place = new Place()
    // Of so many flows some cross from CPU to CPU, whatever the seed: what is called waits nowhere.
    const command = await place.running(t, '--cpus', '2', '--flows', '16', '--window', '1')
    const tell = async (...words: string[]) => {
      const ended = await place.run(t, ['trace', ...words])
      assertWell(ended)
      return ended.stdout
    }
    assert.match(await tell(), /^tracing is off\n {2}recorded 0, /)
    assert.match(await tell('--mode', '1/100'), /^tracing is sampled, 1\/100\n/)
    assert.match(
      await tell('--mode', 'all', '--port', 'client/udp/0'),
      /port "client\/udp\/0" of cpu 0: .* traced all$/m,
    )
    // Messages wait there at some time, and each of them is traced.
    await until('a chain', async () =>
      /^port "client\/udp\/0" of cpu 0: [\d ]+ waiting, traced all\n {2}"mbuf" from cpu \d.*\n {4}sent by cpu \d on port client\/udp\/0, /.test(
        await tell('--port', 'client/udp/0', '--limit', '1'),
      ),
    )
    assert.doesNotMatch(await tell('--mode', 'inherit', '--port', 'client/udp/0'), /traced all/)
    assert.equal(await tell('--waits'), 'no thread waits for an answer\n')
    const json = JSON.parse(await tell('--mode', 'off', '--json')) as { mode: string; counts: { recorded: number } }
    assert.equal(json.mode, 'off')
    assert.ok(json.counts.recorded > 0)
    assertSentence(
      await place.run(t, ['trace', '--port', 'nobody']),
      /^damselfly: no port is named "nobody": there are .*"client\/udp\/0"/,
    )
    assert.equal((await command.end('SIGTERM')).code, 143)
  })

  test('follows one packet through its hand-offs, by a capture’s number of it as well', async (t) => {
    const place = new Place()
    const folder = mkdtempSync(join(root, 'pcap'))
    const path = join(folder, 'x.pcapng')
    const command = await place.running(t, '--trace', 'all', '--pcap', path, ...FEW)
    const tell = async (...words: string[]) => {
      const ended = await place.run(t, ['trace', ...words])
      assertWell(ended)
      return ended.stdout
    }
    const hop = (what: string) => `\\n *[\\d.]+ +\\+[\\d.]+ +0 +${what}`
    const way = [
      '^packet 0x[0-9a-f]{8}, [^\\n]* ago: \\d+ hops in [^\\n]*\\nat µs +after +cpu +hop\\n *0\\.0 +– +0  packet received: wire0[^\\n]*',
      hop('read: udp port \\d+, from port \\d+, 64 bytes'),
      hop('datagram sent: udp port \\d+, to port \\d+, 64 bytes'),
      hop('transmitted: wire0\\.[ab], 106 bytes'),
    ]
    const pattern = new RegExp(way.join(''))
    // The answer to the first one may have to wait for ARP.
    await until('a packet that is answered', async () => pattern.test(await tell('--packet', 'next,udp:7')))
    assert.match(await tell('--packet', 'udp', '--stacks'), /^ +at .*\/(echo|load)\.ts:\d+:\d+\)$/m)
    const json = JSON.parse(await tell('--packet', '--json')) as { life: { hops: { kind: string }[] } }
    assert.equal(json.life.hops[0]?.kind, 'packet')
    assertSentence(
      await place.run(t, ['trace', '--packet', '0x7fffffff']),
      /^damselfly: packet 0x7fffffff is no longer kept: each CPU keeps its last \d+ records/,
    )
    await tell('--mode', 'off')
    await command.end('SIGTERM')
    const comments = [...readCapture(readFileSync(path), path).packets()].map(({ comment = '' }) => comment)
    assert.ok(comments.some((comment) => /^damselfly trace 0x[0-9a-f]{8}: datagram from udp port /.test(comment)))
    assert.ok(comments.some((comment) => /^damselfly trace 0x[0-9a-f]{8}: packet from wire0\.a; /.test(comment)))
  })

  test('writes comments into a capture that tshark shows', {
    skip: whyNot(['tshark', '--version'], 'tshark'),
  }, async (t) => {
    const folder = mkdtempSync(join(root, 'pcap'))
    const path = join(folder, 'x.pcapng')
    const few = ['--seconds', '1', '--cpus', '1', ...FEW, '--trace', '50']
    assertWell(await new Place().run(t, ['up', ...few, '--pcap', path]))
    const shown = spawnSync('tshark', ['-r', path, '-T', 'fields', '-e', 'frame.comment', '-Y', 'frame.comment'], {
      maxBuffer: 2 ** 28,
      encoding: 'utf8',
    })
    assert.equal(shown.status, 0, shown.stderr)
    const comments = [...readCapture(readFileSync(path), path).packets()].flatMap(({ comment }) => comment ?? [])
    assert.ok(comments.length > 0)
    assert.deepEqual(shown.stdout.trimEnd().split('\n'), comments)
  })

  test('of a program on the stack', async (t) => {
    const place = new Place()
    const program = join(place.runtime, 'server.cjs')
    writeFileSync(program, "require('net').createServer().listen(80, () => console.log('packets'))")
    const command = place.start(t, ['run', '--device', 'none', '--trace', 'all', program])
    await until('the program', async () => command.stdout.includes('packets'))
    const ended = await place.run(t, ['trace'])
    assertWell(ended)
    assert.match(ended.stdout, /^tracing is all\n {2}recorded [1-9]/)
    await command.end('SIGTERM')
  })
})

describe('damselfly stat', { concurrency: 3 }, () => {
  test('without an instance is a sentence, and exit code 1', async (t) => {
    const place = new Place()
    const ended = await place.run(t, ['stat'])
    assertSentence(ended, /^damselfly: no damselfly runs: start one by "damselfly up"$/m)
    assertSentence(
      await place.run(t, ['stat', '--pid', '4194304']),
      /^damselfly: no damselfly answers as process 4194304 /,
    )
    assert.deepEqual(readdirSync(place.runtime), [])
  })

  test('shows an instance that runs: once, as JSON, and what changes', async (t) => {
    const place = new Place()
    const command = await place.running(t, '--cpus', '2')
    const title = 'UDP echo and ping over an in-memory wire, 2 CPUs'
    await until('packets', async () => {
      const json = await place.run(t, ['stat', '--json'])
      assertWell(json)
      const snapshot = JSON.parse(json.stdout) as Snapshot
      assert.deepEqual([snapshot.version, snapshot.pid, snapshot.title], [1, command.pid, title])
      return sum(snapshot, 'ip.delivered') > 0
    })
    const once = await place.run(t, ['stat', '--pairs'])
    assertWell(once)
    assertTables(once.stdout)
    assert.match(once.stdout, new RegExp(`^${title} \\(process ${command.pid}\\), since boot \\d+\\.\\d s ago$`, 'm'))
    assert.match(once.stdout, /^rx +0 → 1 /m)
    assert.match(once.stdout, /^ +discipline +connp-t$/m)

    const watch = place.start(t, ['stat', '--watch', '0.2'])
    await until(
      'two changes',
      () => (watch.stdout.match(/, the last \d+\.\d s$/gm)?.length ?? 0) >= 2 || hasEnded(watch),
    )
    const { signal, stderr } = await watch.end('SIGINT')
    assert.deepEqual({ signal, stderr }, { signal: 'SIGINT', stderr: '' })

    const last = place.start(t, ['stat', '--watch', '0.2', '--json'])
    await until('a line', () => last.stdout.includes('\n'))
    await command.end('SIGTERM')
    const { code, stdout, stderr: why } = await last.ended
    assert.equal(code, 1)
    assert.match(why, /^damselfly: no damselfly answers as process \d+ .*\n$/)
    for (const line of stdout.trim().split('\n')) assert.equal((JSON.parse(line) as Snapshot).pid, command.pid)
  })

  test('asks which, where two run', async (t) => {
    const place = new Place()
    const two = await Promise.all([place.running(t), place.running(t)])
    const { code, stderr } = await place.run(t, ['stat'])
    assert.equal(code, 2)
    assert.match(stderr, /^damselfly: 2 instances run: give --pid \d+, or --pid \d+$/m)
    for (const { pid } of two) {
      assert.match(stderr, new RegExp(`--pid ${pid}\\b`))
      const ended = await place.run(t, ['stat', '--json', '--pid', `${pid}`])
      assertWell(ended)
      assert.equal((JSON.parse(ended.stdout) as Snapshot).pid, pid)
    }
    await Promise.all(two.map((command) => command.end('SIGINT')))
  })

  test('removes the socket of one that was killed, also where its number is another’s by now', async (t) => {
    const place = new Place()
    const command = await place.running(t)
    await command.end('SIGKILL')
    assert.deepEqual(place.left(), [`${command.pid}.sock`])
    renameSync(place.socket(command.pid), place.socket(process.pid))
    assertSentence(await place.run(t, ['stat']), /^damselfly: no damselfly runs/)
    assert.deepEqual(place.left(), [])
  })

  test('finds an instance where XDG_RUNTIME_DIR is not set', async (t) => {
    const place = new Place((runtime) => ({ XDG_RUNTIME_DIR: undefined, TMPDIR: runtime }))
    const command = await place.running(t)
    assertWell(await place.run(t, ['stat']))
    assert.equal((await command.end('SIGINT')).code, 130)
    assert.deepEqual(place.left(), [])
  })

  test('cannot where XDG_RUNTIME_DIR is no folder: up says so and runs', async (t) => {
    const place = new Place((runtime) => ({ XDG_RUNTIME_DIR: join(runtime, 'nowhere') }))
    const ended = await place.run(t, ['up', '--seconds', '1', '--cpus', '1', '--flows', '0'])
    assert.equal(ended.code, 0)
    assertTables(ended.stdout)
    assert.match(ended.stderr, /^damselfly stat will not find this instance: ENOENT: .*nowhere.*\n$/)
    assertSentence(await place.run(t, ['stat']), /^damselfly: no damselfly runs/)
    assert.deepEqual(readdirSync(place.runtime), [])
  })

  test('cannot where the path of a socket would be too long: up says so and runs', async (t) => {
    const place = new Place((runtime) => ({ XDG_RUNTIME_DIR: join(runtime, 'x'.repeat(100)) }))
    mkdirSync(join(place.runtime, 'x'.repeat(100)))
    const ended = await place.run(t, ['up', '--seconds', '1', '--cpus', '1', '--flows', '0'])
    assert.equal(ended.code, 0)
    assert.match(
      ended.stderr,
      /^damselfly stat will not find this instance: the path .* is too long: set XDG_RUNTIME_DIR/,
    )
  })
})

describe('without permission', { concurrency: 3 }, () => {
  const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
  const cannot = whyNot([...nobody, 'test', '-r', MAIN], 'setpriv, root, and a checkout that others may read')

  test('the wire runs as for everybody', { skip: cannot }, async (t) => {
    // Nobody's own folder is the one for temporary files.
    const place = new Place(() => ({ XDG_RUNTIME_DIR: join(root, 'nowhere') }))
    const ended = await place.run(t, ['up', '--seconds', '1', '--cpus', '1', '--flows', '0'], [...nobody, ...NODE])
    assert.equal(ended.code, 0)
    assertTables(ended.stdout)
    assert.match(ended.stderr, /^damselfly stat will not find this instance: EACCES: .*\n$/)
  })

  test('a device is a sentence that says what to do', { skip: cannot }, async (t) => {
    const args = ['up', '--device', 'tun:df0', '--address', '10.77.0.2/24']
    const ended = await new Place().run(t, args, [...nobody, ...NODE])
    assertSentence(ended, /^damselfly: .*(\/dev\/net\/tun|df0).*run as root, or /)
  })

  test('stat is a sentence that says what to do, where it may not look', { skip: cannot }, async (t) => {
    const place = new Place()
    const ended = await place.run(t, ['stat'], [...nobody, ...NODE])
    assertSentence(ended, /^damselfly: EACCES: .*: set XDG_RUNTIME_DIR to a directory of your own$/m)
  })

  const hidden = ['unshare', '--mount', '--net', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$0" "$@"']
  const cannotHide = whyNot([...hidden, 'true'], 'unshare and root')

  test('without /dev/net/tun there is a sentence that says what to do', { skip: cannotHide }, async (t) => {
    const args = ['up', '--device', 'tun:df0', '--address', '10.77.0.2/24']
    const ended = await new Place().run(t, args, [...hidden, ...NODE])
    assertSentence(ended, /^damselfly: \/dev\/net\/tun does not exist: load the tun module \(sudo modprobe tun\), or /)
  })
})

/** What a test is skipped for, where a command does not work here. */
function whyNot([program, ...args]: readonly string[], needs: string): string | false {
  const { status } = spawnSync(program!, args, { stdio: 'ignore', timeout: 20_000 })
  return status === 0 ? false : `needs ${needs}`
}
