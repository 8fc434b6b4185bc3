// The control socket of an instance that runs, as a peer of the same user's would use it: what it writes is the input. Whatever that is, the
// answer is one JSON value that says what was done or why it was refused, or none; and the instance goes on. And the other way round: what
// an instance answers, as the command that asks reads it.
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Errno, KernelError } from '../../../src/base/errno.ts'
import type { Random } from '../../../src/base/random.ts'
import { askInstance, type Obedience, orderInstance, serveControl } from '../../../src/cli/control.ts'
import { snapshotOf } from '../../../src/cli/stat/testing/snapshot.ts'
import { boot } from '../../../src/machine/boot.ts'
import type { InlineMachine } from '../../../src/machine/inline.ts'
import { obey } from '../../../src/service/operator.ts'
import { answerTrace, isTraceOrder, type TraceOrder } from '../../../src/service/trace.ts'
import { Stack } from '../../../src/stack.ts'
import { type Bytes, mutate } from '../mutation.ts'
import type { Session, Target } from '../target.ts'
import { mutateJson } from './json.ts'

/** An answer takes no longer, on a machine that does nothing else. */
const ANSWER_MS = 5000

const ORDERS: readonly unknown[] = [
  { order: 'discipline', discipline: 'connp-l', groups: 16 },
  { order: 'discipline', discipline: 'giant' },
  { order: 'trace', view: 'state' },
  { order: 'trace', view: 'waits' },
  { order: 'trace', view: 'mode', mode: '1/16', port: 'netisr' },
  { order: 'trace', view: 'mode', mode: 'all' },
  { order: 'trace', view: 'port', port: 'netisr', limit: 5, patienceMs: 0 },
  { order: 'other' },
  7,
]

export const controlTarget: Target = {
  name: 'control',
  inputs: 2000,
  seeds: () =>
    ['\n', ...ORDERS.map((order) => `${JSON.stringify(order)}\n`)].map((line) => new TextEncoder().encode(line)),
  open: () => ControlSession.open(),
  mutate: changeLine,
}

class ControlSession implements Session {
  readonly #machine: InlineMachine
  readonly #root: string
  readonly #variable = process.env.XDG_RUNTIME_DIR
  #server: Server | undefined

  static async open(): Promise<ControlSession> {
    const machine = (await boot({
      host: 'inline',
      cpus: 1,
      memoryBytes: 24 * 1024 * 1024,
      signals: false,
    })) as InlineMachine
    const stack = new Stack(machine.cpu, { name: 'host', index: 0, cpus: [0], interfaces: [] })
    const ready = new Promise<void>((resolve) => {
      machine.cpu.threads.start('host', function* (this: void, thread) {
        yield* stack.start(thread)
        resolve()
      })
    })
    machine.kick()
    await ready
    obey(machine.cpu, [stack])
    const session = new ControlSession(machine)
    process.env.XDG_RUNTIME_DIR = session.#root
    const obedience: Obedience = {
      snapshot: () => snapshotOf({ pid: process.pid }),
      order: (order) =>
        isTraceOrder(order) ? answerTrace(machine.memory, machine.clock, soon(order)) : machine.ask(0, order),
    }
    session.#server = await serveControl(obedience)
    return session
  }

  private constructor(machine: InlineMachine) {
    this.#machine = machine
    this.#root = mkdtempSync(join(tmpdir(), 'df-'))
  }

  async run(input: Bytes): Promise<void> {
    const folder = join(this.#root, `damselfly-${process.getuid?.() ?? 0}`)
    const answer = await exchange(join(folder, `${process.pid}.sock`), input)
    if (answer !== '') {
      const value: unknown = JSON.parse(answer)
      assert(typeof value === 'object' && value !== null, 'an answer is an object')
      const names = Object.keys(value)
      if (names.includes('refused')) {
        const { code, message } = (value as { refused: { code: string; message: string } }).refused
        assert(code in Errno, `${code} is an error that the command knows`)
        assert(typeof message === 'string' && message !== '', 'a refusal has a sentence')
        assert(!message.includes('assert') && !/is not a function|Cannot read/.test(message), message)
      } else assert(names.includes('done') || names.includes('version'), 'an answer says what was done')
    }
    assert.equal(({} as { polluted?: unknown }).polluted, undefined, 'no prototype was changed')
    assert.equal(this.#machine.failure, undefined, 'the machine runs')
    await readByClient(this.#root, input)
  }

  async close(): Promise<void> {
    const server = this.#server
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
    if (this.#variable === undefined) delete process.env.XDG_RUNTIME_DIR
    else process.env.XDG_RUNTIME_DIR = this.#variable
    rmSync(this.#root, { recursive: true, force: true })
    await this.#machine.stop()
  }
}

/** What would be waited for is not, here. */
function soon(order: TraceOrder): TraceOrder {
  const isPatient = order.view === 'port' && order.patienceMs > 0 && order.patienceMs <= 60_000
  return isPatient ? { ...order, patienceMs: 0 } : order
}

function exchange(path: string, input: Bytes): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    // Without a line's end there is no order: the end of the stream says that none comes.
    const socket = connect(path, () => socket.end(input))
    const timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS)
    socket.on('data', (part) => parts.push(part))
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(parts).toString())
    })
  })
}

/** An instance that answers with the input. */
async function readByClient(root: string, input: Bytes): Promise<void> {
  const before = process.env.XDG_RUNTIME_DIR
  const other = join(root, 'other')
  const folder = join(other, `damselfly-${process.getuid?.() ?? 0}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.resume().end(input)
  })
  try {
    process.env.XDG_RUNTIME_DIR = other
    await new Promise<void>((resolve) => server.listen(join(folder, '1.sock'), resolve))
    for (const ask of [() => askInstance(1), () => orderInstance(1, {})]) {
      try {
        await ask()
      } catch (error) {
        if (!(error instanceof KernelError)) throw error
      }
    }
  } finally {
    process.env.XDG_RUNTIME_DIR = before
    await new Promise((resolve) => server.close(resolve))
  }
}

function changeLine(random: Random, input: Bytes, other: Bytes): Bytes {
  if (random.chance(0.3)) return mutate(random, input, other)
  const line = mutateJson(random, new TextDecoder().decode(input), new TextDecoder().decode(other))
  return new TextEncoder().encode(random.chance(0.95) ? `${line}\n` : line).subarray(0, 6000)
}
