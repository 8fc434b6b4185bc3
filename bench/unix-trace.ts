// What traces over UNIX-domain sockets cost: bytes and writes a second from a process to another on the same path, by Node's own net and
// by sockets of ours that send none, always the same one, and the stack of each call. Reader and writer are processes of their own; the
// reader ours where the writer is. In turn, in one run; net is what the others are held against.
//   node dist/bench/unix-trace.js [--rounds 7] [--ms 400]
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Chain } from '../src/kernel/trace/chain.ts'
import { unix } from '../src/node/unix/main.ts'
import { compare, print, type Variant } from './report.ts'

type Kind = 'net' | 'none' | 'same' | 'stack'
const KINDS: readonly { readonly kind: Kind; readonly name: string }[] = [
  { kind: 'net', name: "Node's net" },
  { kind: 'none', name: 'no trace' },
  { kind: 'same', name: 'one trace, with each write' },
  { kind: 'stack', name: 'the stack of each call' },
]
const SIZES = [64, 1024, 16_384, 65_536, 1_048_576] as const

const CHAIN: Chain = {
  hops: [
    { kind: 'process', cpu: 0, to: '', atUs: 0, id: 0, process: { pid: process.pid, title: 'bench' }, frames: [] },
  ],
  end: 'origin',
}

/** In the reader's process: counts what comes to two paths. */
function reader(folder: string): void {
  let bytes = 0
  const read = (socket: net.Socket) => {
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    socket.on('end', () => {
      process.send!(bytes)
      bytes = 0
    })
  }
  unix.createServer(read).listen(join(folder, 'ours'))
  net.createServer(read).listen(join(folder, 'net'), () => process.send!('ready'))
}

/** Bytes a second, all of which were read. */
async function run(folder: string, child: ChildProcess, kind: Kind, size: number, ms: number): Promise<number> {
  const path = join(folder, kind === 'net' ? 'net' : 'ours')
  const trace = kind === 'none' ? false : kind === 'same' ? () => CHAIN : undefined
  const socket = kind === 'net' ? net.connect(path) : unix.connect(path, { trace })
  await once(socket, 'connect')
  const bytes = Buffer.alloc(size)
  const began = performance.now()
  while (performance.now() - began < ms) {
    // A handful of writes between two looks at the clock.
    let isFree = true
    for (let i = 0; i < 16 && isFree; i++) isFree = socket.write(bytes)
    if (!isFree) await once(socket, 'drain')
  }
  socket.end()
  const [read] = (await once(child, 'message')) as [number]
  return (read / (performance.now() - began)) * 1000
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { rounds: { type: 'string', default: '7' }, ms: { type: 'string', default: '400' } },
  })
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-unix-'))
  const child = fork(fileURLToPath(import.meta.url), [folder])
  await once(child, 'message')
  try {
    for (const size of SIZES) {
      const variants: Variant[] = KINDS.map(({ kind, name }) => ({
        name,
        run: () => run(folder, child, kind, size, Number(values.ms)),
      }))
      const results = await compare(variants, Number(values.rounds))
      const isSmall = size < 65_536
      const title = `writes of ${size} bytes`
      if (isSmall) {
        const writes = results.map((result) => ({
          ...result,
          median: result.median / size,
          low: result.low / size,
          high: result.high / size,
        }))
        print(title, writes, 'k writes/s', 1e3)
      } else print(title, results, 'MB/s', 1e6)
    }
  } finally {
    child.kill()
    rmSync(folder, { recursive: true })
  }
}

if (process.send === undefined) await main()
else reader(process.argv[2]!)
