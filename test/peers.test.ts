// The kernel's TCP at the other end of a bad link, in a network namespace of its own: each of them connects to the other, over links that lose
// and reorder, under two disciplines; sizes are by chance, halves are closed one before the other, and every byte is summed at both ends.
// `npm run peers` makes 10 000 connections, in a matrix of all faults, half of it with the stack on two CPUs of real threads.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { FaultOptions } from '../src/device/fault.ts'
import { libcUnavailable } from '../src/device/linux/library.ts'
import { available, Namespace } from '../src/lab/tun/namespace.ts'
import type { Discipline } from '../src/net/discipline.ts'
import { environment } from './command.ts'
import type { PeerOptions, PeerReport } from './peer-program.ts'

const PROGRAM = fileURLToPath(new URL('./peer-program.js', import.meta.url))
const IS_LONG = process.env.DAMSELFLY_LONG !== undefined
/** Of the whole matrix. */
const CONNECTIONS = 10_000
const SHORT_CONNECTIONS = 40
/** A program that takes longer stands still. */
const LIMIT_MS = IS_LONG ? 30 * 60_000 : 60_000

const LINKS: readonly (readonly [string, FaultOptions])[] = [
  ['a good link', {}],
  ['1 % loss', { loss: 0.01 }],
  ['5 % loss', { loss: 0.05 }],
  ['10 % reordered', { reorder: 0.1, reorderUs: 3000, delayUs: 1000 }],
  ['losses in bursts', { burst: { pGoodToBad: 0.01, pBadToGood: 0.3 } }],
  ['doubles, flipped bits and cuts', { duplicate: 0.03, corrupt: 0.02, corruptBits: 1, truncate: 0.01 }],
  ['a slow link with a short queue', { rateBitsPerSecond: 20e6, queueBytes: 30_000, delayUs: 2000 }],
  [
    'a little of everything',
    { loss: 0.02, reorder: 0.05, reorderUs: 3000, duplicate: 0.01, delayUs: 1000, jitterUs: 500 },
  ],
]
const SHORT_LINKS = ['a good link', 'a little of everything']
const DISCIPLINES: readonly Discipline[] = IS_LONG ? ['connp-t', 'connp-l'] : ['connp-t']

const links = LINKS.filter(([name]) => IS_LONG || SHORT_LINKS.includes(name))
const each = IS_LONG ? Math.ceil(CONNECTIONS / (links.length * DISCIPLINES.length * 2)) : SHORT_CONNECTIONS

/**
 * Every other place of the matrix has two CPUs: each link and discipline in one of both directions, each direction and discipline over every other
 * link. The program's CPU owns no connection then.
 */
function cpusOf(client: 'kernel' | 'stack', discipline: Discipline, link: number): number {
  const place = link + DISCIPLINES.indexOf(discipline) + (client === 'kernel' ? 0 : 1)
  return IS_LONG && place % 2 === 0 ? 2 : 1
}

describe('the kernel’s TCP', { skip: libcUnavailable() ?? available() ?? false }, () => {
  for (const client of ['kernel', 'stack'] as const) {
    for (const discipline of DISCIPLINES) {
      for (const [number, [link, faults]] of links.entries()) {
        const cpus = cpusOf(client, discipline, number)
        const stack = cpus === 1 ? 'the stack' : `the stack on ${cpus} CPUs`
        const title = client === 'kernel' ? `connects to ${stack}` : `is connected to by ${stack}`
        describe(`${title} under ${discipline}, over ${link}`, () => {
          let namespace: Namespace
          before(() => {
            namespace = new Namespace(`peers-${client}-${discipline}-${number}`)
          })
          after(() => namespace?.remove())

          test(`${each} times, and every byte arrives`, { timeout: LIMIT_MS }, async () => {
            const common = {
              seed: 100 * number + (client === 'kernel' ? 1 : 2),
              connections: each,
              parallel: 8,
              most: IS_LONG ? 500_000 : 200_000,
              faults,
              discipline,
              cpus,
            }
            const server = client === 'kernel' ? 'stack' : 'kernel'
            // The stack first: the device is its.
            const first = new Peer(
              namespace,
              { ...common, side: 'stack', role: server === 'stack' ? 'server' : 'client' },
              true,
            )
            if (server === 'stack') await first.ready
            const second = new Peer(
              namespace,
              { ...common, side: 'kernel', role: server === 'stack' ? 'client' : 'server' },
              false,
            )
            if (server === 'kernel') {
              await second.ready
              first.go()
            }
            const [clientPeer, serverPeer] = server === 'stack' ? [second, first] : [first, second]
            const made = await clientPeer.report
            serverPeer.go()
            const served = await serverPeer.report
            await Promise.all([first.end(), second.end()])
            assert.deepEqual([...made.wrong, ...served.wrong], [])
            assert.equal(made.done, each)
            assert.equal(served.done, each)
            const { lost, reordered } = server === 'stack' ? served : made
            if (faults.loss !== undefined) assert(lost > 0, 'the link has lost packets')
            if (faults.reorder !== undefined) assert(reordered > 0, 'the link has reordered packets')
          })
        })
      }
    }
  }
})

/** A process of an end. */
class Peer {
  readonly ready: Promise<void>
  readonly report: Promise<PeerReport>
  readonly #child: ChildProcess

  constructor(namespace: Namespace, options: PeerOptions, waits: boolean) {
    const given = JSON.stringify({ ...options, waits: waits && options.role === 'client' })
    const child = namespace.spawn(process.execPath, ['--enable-source-maps', PROGRAM, given], {
      env: environment({}),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child = child
    const messages: unknown[] = []
    const waiting: ((message: unknown) => void)[] = []
    child.on('message', (message) => {
      const next = waiting.shift()
      if (next === undefined) messages.push(message)
      else next(message)
    })
    const next = (): Promise<unknown> =>
      new Promise((resolve, reject) => {
        if (messages.length > 0) resolve(messages.shift())
        else waiting.push(resolve)
        child.once('exit', (code, signal) => reject(new Error(`${options.side} ended by ${signal ?? code}`)))
        child.once('error', reject)
      })
    this.ready = next().then(() => {})
    this.report = this.ready.then(next) as Promise<PeerReport>
    // Whoever wants them waits for them.
    this.ready.catch(() => {})
    this.report.catch(() => {})
  }

  /** It has told all that it was asked, and ends. */
  async end(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.go()
    await ended
  }

  /** A client begins, a server ends. */
  go(): void {
    this.#child.send('go')
  }
}
