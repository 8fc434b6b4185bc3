// Capture files by their path. For programs and tools: these functions block on the file system.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { Errno, type ErrnoName, KernelError } from '../../base/errno.ts'
import type { CaptureFormat } from './format.ts'
import { type Capture, readCapture } from './reader.ts'
import { type CaptureOptions, type CaptureWriter, createCaptureWriter } from './writer.ts'

/**
 * Creates a capture file, or empties the one there is; `.pcapng` or `.pcap` says the format.
 * Once the file could not be written, nothing is appended any more, so that it stays readable up to there, and every
 * later hand-over throws the same error. `close` closes the file in any case.
 * @throws KernelError EINVAL for another extension or options that cannot be; ENOENT, EACCES, ENOSPC, EIO and the
 *   like from here, `record`, `flush` and `close`
 */
export function captureFile(path: string, options: Omit<CaptureOptions, 'format' | 'write'>): CaptureWriter {
  let failure: KernelError | undefined
  let descriptor: number | undefined
  const write = (chunk: Uint8Array): void => {
    if (failure !== undefined) throw failure
    try {
      for (let at = 0; at < chunk.length; ) at += writeSync(descriptor!, chunk, at)
    } catch (error) {
      failure = fileError(error, path, 'write')
      throw failure
    }
  }
  // Before the file is emptied, because this is where bad options are found.
  const writer = createCaptureWriter({ ...options, format: formatOf(path), write })
  try {
    descriptor = openSync(path, 'w')
  } catch (error) {
    throw fileError(error, path, 'open')
  }
  return {
    record: writer.record.bind(writer),
    flush: () => writer.flush(),
    close() {
      if (descriptor === undefined) return
      try {
        writer.close()
      } finally {
        const closing = descriptor
        descriptor = undefined
        closeSync(closing)
      }
    },
  }
}

/**
 * Reads a capture file whole; what it begins with says the format, not its name.
 * @throws KernelError as `readCapture`; ENOENT, EACCES and the like if it cannot be read
 */
export function openCapture(path: string): Capture {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw fileError(error, path, 'read')
  }
  return readCapture(bytes, path)
}

/** What a path says. @throws KernelError EINVAL for another extension */
export function formatOf(path: string): CaptureFormat {
  if (path.endsWith('.pcapng')) return 'pcapng'
  if (path.endsWith('.pcap')) return 'pcap'
  throw new KernelError(Errno.EINVAL, `A capture file is named *.pcapng or *.pcap, and ${path} is neither: rename it.`)
}

/** What Node says, as one of the errors that this stack knows, and what to do about it. */
const advice: Readonly<Record<string, readonly [ErrnoName, string]>> = {
  ENOENT: ['ENOENT', 'there is no such file or folder: check the path, or create the folder first'],
  ENOTDIR: ['ENOENT', 'a part of the path is not a folder: check the path'],
  EISDIR: ['EINVAL', 'it is a folder: name a file'],
  EACCES: ['EACCES', 'permission is denied: choose another folder, or change its permissions'],
  EPERM: ['EACCES', 'the operation is not permitted: choose another folder, or change its permissions'],
  EROFS: ['EACCES', 'its file system is read-only: choose another folder'],
  ENOSPC: ['ENOSPC', 'no space is left on its device: free some, or capture with a smaller snap length'],
  EDQUOT: ['ENOSPC', 'the disk quota is used up: free some, or capture with a smaller snap length'],
  EFBIG: ['ENOSPC', 'it has the largest size that is allowed: go on with another file'],
  EMFILE: ['ENFILE', 'too many files are open: close some, or raise the limit'],
  ENFILE: ['ENFILE', 'too many files are open: close some, or raise the limit'],
  ERR_FS_FILE_TOO_LARGE: ['EINVAL', 'it is larger than 2 GiB: split it first'],
}

function fileError(error: unknown, path: string, syscall: 'open' | 'read' | 'write'): KernelError {
  const { code = '', message = String(error) } = error as NodeJS.ErrnoException
  const [name, sentence] = advice[code] ?? ['EIO', message]
  const what = `The capture file ${path} cannot be ${syscall === 'open' ? 'opened' : syscall === 'read' ? 'read' : 'written'}`
  return new KernelError(Errno[name], `${what}: ${sentence}.`, syscall, { cause: error })
}
