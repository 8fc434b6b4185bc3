// What the command makes of its words, as a function: test/cli.test.ts has a process do some of it.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { command, failure } from './command.ts'

describe('a wrong command line', () => {
  const addressed = ['--device', 'tun:df0', '--address']
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['frobnicate'], /^damselfly: there is no command "frobnicate"$/],
    [['up', '--frob'], /Unknown option '--frob'/],
    [['--frob'], /Unknown option '--frob'/],
    [['stat', '--frob'], /Unknown option '--frob'/],
    [['up', 'more'], /Unexpected argument 'more'/],
    [['up', '--cpus'], /'--cpus <value>' argument missing/],
    [['up', '--cpus', '0'], /--cpus is "0": give a whole number from 1 to 64/],
    [['up', '--cpus', '65'], /--cpus is "65": give a whole number from 1 to 64/],
    [['up', '--cpus='], /--cpus is "": give a whole number/],
    [['up', '--seconds', '1e3'], /--seconds is "1e3": give a whole number from 1 to 86400/],
    [['up', '--seconds', '0'], /--seconds is "0"/],
    [['up', '--seconds=-1'], /--seconds is "-1"/],
    [['up', '--echo-port', '65536'], /--echo-port is "65536": give a whole number from 1 to 65535/],
    [['up', '--flows', 'NaN'], /--flows is "NaN": give a whole number from 0 to 1000/],
    [['up', '--window', ' 1'], /--window is " 1": give a whole number from 1 to 1000/],
    [['up', '--payload', '65508'], /--payload is "65508": give a whole number from 0 to 65507/],
    [['up', '--loss', '1'], /--loss is "1": give a number from 0 to 0.9/],
    [['up', '--seed', '4294967296'], /--seed is "4294967296": give a whole number from 0 to 4294967295/],
    [['up', '--discipline', 'x'], /^damselfly: --discipline is "x": give one of giant, msgp, connp-l, connp-t$/],
    [['up', '--groups', '4'], /^damselfly: --groups is 4, which is for connp-l: connp-t has its own number$/],
    [['up', '--discipline', 'connp-l', '--groups', 'x'], /^damselfly: --groups is "x": give a whole number$/],
    [['up', '--discipline', 'connp-l', '--groups', '0'], /--groups is 0: give a whole number from 1 to 4096$/],
    [['up', '--dispatch', 'fast'], /^damselfly: --dispatch is "fast": give direct, hybrid, deferred, or policies of /],
    [['up', '--dispatch', 'ip=x'], /--dispatch of ip has an unknown policy "x": there are direct, hybrid, deferred$/],
    [['up', '--layers', 'udp'], /^damselfly: --layers names an unknown layer "udp": there are ether, ip, tcp, socket$/],
    [['run', '--layers', 'x', 'x.js'], /--layers \(DAMSELFLY_LAYERS\) names an unknown layer "x"/],
    [['up', '--instances'], /Unknown option '--instances'/],
    [['run', '--discipline', 'x', 'x.js'], /--discipline \(DAMSELFLY_DISCIPLINE\) is "x": give one of giant, msgp, /],
    [
      ['run', '--discipline', 'msgp', '--groups', '4', 'x.js'],
      /--groups \(DAMSELFLY_GROUPS\) is 4, which is for connp-l/,
    ],
    [
      ['run', '--discipline', 'giant', '--instances', 'x.js'],
      /--instances .* under giant .*: give --discipline connp-t/,
    ],
    [['run', '--cpus', '0', 'x.js'], /--cpus \(DAMSELFLY_CPUS\) is "0": give a whole number from 1 to 64/],
    [['up', '--pcap', 'x.txt'], /--pcap is "x.txt": give a file name that ends in .pcap or .pcapng/],
    [['up', '--address', '10.77.0.2/24'], /--address goes with --device/],
    [['up', '--kernel-address', '10.77.0.2/24'], /--kernel-address goes with --device/],
    [['up', '--device', 'tun:df0'], /--device needs --address: the address of this host, like 10.77.0.2\/24/],
    [['up', '--device', 'wire'], /^damselfly: --device is "wire": give tun:NAME or tap:NAME, like tun:df0$/],
    [['up', '--device', 'tun:'], /^damselfly: --device is "tun:": give tun:NAME or tap:NAME, like tun:df0$/],
    [['up', '--device', 'tun:a b'], /^damselfly: --device: "a b" is not the name of an interface: give 1 to 15 /],
    [['up', ...addressed, '10.77.0.2'], /--address is "10.77.0.2": give an IPv4 address with its prefix length/],
    [['up', ...addressed, 'fd00::2/64'], /--address is "fd00::2\/64": give an IPv4 address/],
    [['up', ...addressed, '10.77.0.255/24'], /the whole net or its broadcast/],
    [['up', ...addressed, '10.77.0.2/32'], /no room for the kernel: give a shorter one/],
    [['up', ...addressed, '10.77.0.2/24', '--kernel-address', '10.77.0.2/24'], /the host's own: give another/],
    [['up', ...addressed, '10.77.0.2/24', '--kernel-address', '10.77.1.1/24'], /not in the net of --address 10.77.0.2/],
    [['up', ...addressed, '10.77.0.2/24', '--kernel-address', 'x'], /--kernel-address is "x": give an IPv4 address/],
    [['up', ...addressed, '10.77.0.2/24', '--loss', '0.1'], /--loss is for the wire: leave it out, or --device/],
    [['discipline', 'mine'], /discipline is "mine"/],
    [['trace', '--mode', '1/0'], /--mode: the trace mode "1\/0" is none: give off, all, exact, or N or 1\/N/],
    [['trace', '--mode', 'inherit'], /the trace mode "inherit" is none/],
    [['trace', '--waits', '--port', 'x'], /--waits is a view of its own: leave --mode and --port out/],
    [['trace', '--packet', 'icmp'], /--packet is "icmp": give newest, next, tcp or udp .* like 0x2a/],
    [['trace', '--packet', '--waits'], /--packet is a view of its own: leave --waits out/],
    [['trace', '--packet', 'next', '--port', 'x'], /--packet is a view of its own: leave --port out/],
    [['trace', '--stacks'], /--stacks goes with --packet/],
    [['trace', '--limit', '3'], /--limit goes with --port, without --mode/],
    [['trace', '--port', 'x', '--wait', '61'], /--wait is "61": give a number from 0 to 60/],
    [['up', '--trace', 'some'], /--trace: the trace mode "some" is none/],
    [['run', '--trace', 'some', 'x.js'], /--trace \(DAMSELFLY_TRACE\) is "some": give off, all, exact, or N or 1\/N/],
    [['discipline', 'giant', 'msgp'], /"msgp" is one discipline too many/],
    [['discipline', 'giant', '--groups', '3'], /groups is 3, which is for connp-l/],
    [['discipline', '--groups', '3'], /--groups goes with connp-l: name it/],
    [['stat', '--pid', '0'], /--pid is "0": give a whole number from 1 to 4194304/],
    [['stat', '--watch', '0'], /--watch is "0": give a number from 0.2 to 3600/],
    [['stat', '--watch', '1e3'], /--watch is "1e3"/],
  ]

  for (const [args, sentence] of cases) {
    test(`(${args.join(' ')}) is exit code 2, the reason and the usage, and nothing is printed or made`, async (t) => {
      const runtime = mkdtempSync(join(tmpdir(), 'df-'))
      t.after(() => rmSync(runtime, { recursive: true }))
      const before = process.env.XDG_RUNTIME_DIR
      process.env.XDG_RUNTIME_DIR = runtime
      t.after(() => {
        if (before === undefined) delete process.env.XDG_RUNTIME_DIR
        else process.env.XDG_RUNTIME_DIR = before
      })
      const printed = (['log', 'error'] as const).map((name) => t.mock.method(console, name, () => {}))
      const error = await command(args).then(
        () => assert.fail('it was done'),
        (error: unknown) => error,
      )
      const { exitCode, told } = failure(error)
      const text = String(told)
      assert.equal(exitCode, 2, text)
      assert.match(text.split('\n')[0]!, sentence)
      assert.match(text, /\n {2}damselfly up \[options\] /)
      for (const { mock } of printed) assert.equal(mock.callCount(), 0)
      assert.deepEqual(readdirSync(runtime), [])
    })
  }
})
