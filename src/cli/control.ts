// How another process asks a running instance: a UNIX socket in a directory of the user's own. A client connects and sends one
// line of JSON, an order or an empty one; it gets a snapshot of the counts or the order's answer, ended by the end of the stream.
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync, type Stats } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { Errno, type ErrnoName, KernelError } from '../base/errno.ts'
import type { Snapshot } from './snapshot.ts'

/** The longest path of a UNIX socket: Linux's 108 bytes and macOS's 104, less the 0 behind it. A longer one would be cut. */
const PATH_BYTES_MAX = process.platform === 'linux' ? 107 : 103
/** An instance that does not answer within this is stuck. */
const PATIENCE_MS = 5000
/** The longest order. */
const ORDER_BYTES_MAX = 4096
/** The longest answer: a snapshot of all CPUs that there can be is a few MB. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024
/** Peers at a time. A command is one. */
const PEERS_MAX = 32

/** What an instance does. */
export interface Obedience {
  snapshot(): Snapshot
  /** Carries an order out, which may be anything that JSON can say. @throws KernelError, or rejects with it */
  order(order: unknown): Promise<unknown>
}

/** Where the sockets are. An XDG_RUNTIME_DIR that is empty or relative is none (XDG Base Directory Specification). */
function directory(): string {
  const runtime = process.env.XDG_RUNTIME_DIR ?? ''
  return join(isAbsolute(runtime) ? runtime : tmpdir(), `damselfly-${user()}`)
}

function user(): number {
  return process.getuid?.() ?? 0
}

/** Whether the directory is there. @throws KernelError EACCES when others could look in, or when it cannot be looked at */
function isThere(path: string): boolean {
  const stat = lstatOrSay(path)
  if (stat === undefined) return false
  if (stat.isDirectory() && stat.uid === user() && (stat.mode & 0o077) === 0) return true
  throw new KernelError(
    Errno.EACCES,
    `${path} is not only yours: remove it, or set XDG_RUNTIME_DIR to a directory of your own`,
  )
}

function lstatOrSay(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    const sentence = `${(cause as Error).message}: set XDG_RUNTIME_DIR to a directory of your own`
    throw new KernelError(Errno.EACCES, sentence, 'lstat', { cause })
  }
}

/** Only itself: an XDG_RUNTIME_DIR that does not exist is a mistake, and not ours to make. */
function make(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Perhaps a moment ago, by another instance.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  isThere(path)
}

/**
 * Answers everybody who asks, until it is closed or the process ends. Rejects where no socket can be made.
 * @param patienceMs that an order may take to come, and an answer to be taken
 */
export async function serveControl(
  instance: Obedience,
  { patienceMs = PATIENCE_MS }: { readonly patienceMs?: number } = {},
): Promise<Server> {
  const parent = directory()
  const path = join(parent, `${process.pid}.sock`)
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new KernelError(Errno.EINVAL, `the path ${path} is too long: set XDG_RUNTIME_DIR to a shorter one`)
  }
  make(parent)
  rmSync(path, { force: true })
  const server = createServer((socket) => {
    socket.on('error', () => {})
    // Whoever asks and does not listen keeps nobody alive.
    socket.unref()
    readLine(socket, patienceMs, (line) => {
      void answerTo(line, instance).then((answer) => socket.end(JSON.stringify(answer)))
    })
  })
  server.maxConnections = PEERS_MAX
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  chmodSync(path, 0o600)
  const remove = () => rmSync(path, { force: true })
  process.once('exit', remove)
  server.once('close', () => process.off('exit', remove))
  // It serves as long as the machine runs, and keeps nothing alive by itself.
  server.unref()
  return server
}

/** The first line that a peer sends. One that sends too much, or takes too long for it, is let go. */
function readLine(socket: Socket, patienceMs: number, done: (line: string) => void): void {
  let bytes: Buffer = Buffer.alloc(0)
  // By itself it would let a byte now and then keep a peer here for hours.
  socket.setTimeout(patienceMs, () => socket.destroy())
  const deadline = setTimeout(() => socket.destroy(), patienceMs).unref()
  socket.once('close', () => clearTimeout(deadline))
  const onData = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    if (bytes.length > ORDER_BYTES_MAX) return socket.destroy()
    const end = bytes.indexOf('\n')
    if (end < 0) return
    socket.off('data', onData)
    clearTimeout(deadline)
    done(bytes.toString('utf8', 0, end))
  }
  socket.on('data', onData)
}

/** What an order that could not be carried out is answered with. */
interface Refusal {
  readonly refused: { readonly code: string; readonly message: string }
}

async function answerTo(line: string, instance: Obedience): Promise<unknown> {
  try {
    return line === '' ? instance.snapshot() : { done: await instance.order(JSON.parse(line)) }
  } catch (error) {
    const { code = 'EINVAL', message } = error as NodeJS.ErrnoException
    return { refused: { code, message } } satisfies Refusal
  }
}

/** The pids of the instances that run. Sockets that a killed one left behind are removed. */
export async function runningInstances(): Promise<number[]> {
  const path = directory()
  if (!isThere(path)) return []
  const pids = readdirSync(path).flatMap((name) => {
    const match = /^(\d+)\.sock$/.exec(name)
    return match === null ? [] : [Number(match[1])]
  })
  const running = await Promise.all(pids.map((pid) => isServed(join(path, `${pid}.sock`))))
  return pids.filter((_, i) => running[i])
}

/** By knocking, and not by the process's number, which another one may have by now. Removes what nobody serves. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') rmSync(path, { force: true })
      resolve(false)
    })
  })
}

/** @throws KernelError ECONNREFUSED when no such instance runs or it ends meanwhile, EPROTO when what answers is none of this version */
export async function askInstance(pid: number): Promise<Snapshot> {
  const answer = await exchange(pid, '')
  if (typeof answer === 'object' && answer !== null && 'version' in answer && answer.version === 1)
    return answer as Snapshot
  throw foreign(pid)
}

/**
 * Has an instance carry an order out. Returns its answer.
 * @throws KernelError as `askInstance`, and what the order was refused with
 */
export async function orderInstance(pid: number, order: unknown): Promise<unknown> {
  const answer = await exchange(pid, JSON.stringify(order))
  if (typeof answer !== 'object' || answer === null) throw foreign(pid)
  if ('done' in answer) return answer.done
  if (!('refused' in answer)) throw foreign(pid)
  const { code, message } = (answer as Refusal).refused
  throw new KernelError(Errno[code as ErrnoName] ?? Errno.EINVAL, message, 'order')
}

/** Sends a line, and gets what the instance says to it. */
function exchange(pid: number, line: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(directory(), `${pid}.sock`), () => socket.write(`${line}\n`))
    const chunks: Buffer[] = []
    const refuse = (cause: Error) => {
      const sentence = `no damselfly answers as process ${pid} (${cause.message}): see "damselfly stat" without --pid for those that run`
      reject(new KernelError(Errno.ECONNREFUSED, sentence, 'stat', { cause }))
    }
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('it does not answer')))
    let length = 0
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      if (length > ANSWER_BYTES_MAX) socket.destroy(new Error('it does not come to an end'))
    })
    socket.on('error', refuse)
    socket.on('end', () => {
      if (chunks.length === 0) return refuse(new Error('it has ended'))
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString()))
      } catch (cause) {
        reject(foreign(pid, cause))
      }
    })
  })
}

function foreign(pid: number, cause?: unknown): KernelError {
  const sentence = `process ${pid} answered with something that is of another version than this command`
  return new KernelError(Errno.EPROTO, sentence, 'stat', { cause })
}
