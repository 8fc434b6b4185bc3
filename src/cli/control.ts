// How another process asks a running instance for its counts: a UNIX socket in a directory of the user's own. A
// client connects, and gets one JSON snapshot, ended by the end of the stream.
import { chmodSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Errno, KernelError } from '../base/errno.ts'
import type { Snapshot } from './snapshot.ts'

/** Where the sockets are: only their user may look in. @throws KernelError EACCES when somebody else has made it */
function directory(): string {
  const user = process.getuid?.() ?? 0
  const path = join(process.env.XDG_RUNTIME_DIR ?? tmpdir(), `damselfly-${user}`)
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const stat = statSync(path)
  if (stat.uid !== user || (stat.mode & 0o077) !== 0) {
    throw new KernelError(
      Errno.EACCES,
      `${path} is not only yours: remove it, or set XDG_RUNTIME_DIR to a directory of your own`,
    )
  }
  return path
}

/** Answers everybody who asks, until it is closed. */
export function serveSnapshots(take: () => Snapshot): Server {
  const path = join(directory(), `${process.pid}.sock`)
  rmSync(path, { force: true })
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(JSON.stringify(take()))
  })
  server.on('close', () => rmSync(path, { force: true }))
  server.listen(path, () => chmodSync(path, 0o600))
  // It serves as long as the machine runs, and keeps nothing alive by itself.
  server.unref()
  return server
}

/** The pids of the instances that run. Sockets that a killed one left behind are removed. */
export function runningInstances(): number[] {
  const path = directory()
  const pids = readdirSync(path).flatMap((name) => {
    const match = /^(\d+)\.sock$/.exec(name)
    return match === null ? [] : [Number(match[1])]
  })
  return pids.filter((pid) => {
    if (isAlive(pid)) return true
    rmSync(join(path, `${pid}.sock`), { force: true })
    return false
  })
}

/** @throws KernelError ENOENT, ECONNREFUSED when no such instance runs */
export function askInstance(pid: number): Promise<Snapshot> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(directory(), `${pid}.sock`))
    const chunks: Buffer[] = []
    socket.setTimeout(5000, () => socket.destroy(new Error('it does not answer')))
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('error', (cause) => {
      const sentence = `no damselfly answers as process ${pid} (${cause.message}): see "damselfly stat" without --pid for those that run`
      reject(new KernelError(Errno.ECONNREFUSED, sentence, 'stat', { cause }))
    })
    socket.on('end', () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString()) as Snapshot)
      } catch (cause) {
        reject(
          new KernelError(Errno.EPROTO, `process ${pid} answered with something that is no snapshot`, 'stat', {
            cause,
          }),
        )
      }
    })
  })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
