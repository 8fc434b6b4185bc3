// A folder is measured into by one process at a time: two would replace each other's results file. The claim is a file with
// the process's id; one whose process is gone is nobody's.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Errno, KernelError } from '../base/errno.ts'

export class Claim {
  readonly #path: string

  /** @throws KernelError EBUSY where another process has it */
  constructor(path: string) {
    this.#path = path
    if (!this.#create()) {
      const owner = Number.parseInt(readFileSync(path, 'utf8'), 10)
      if (isRunning(owner)) {
        throw new KernelError(
          Errno.EBUSY,
          `process ${owner} measures into this folder (${path}): give another --out`,
          'lab',
        )
      }
      rmSync(path, { force: true })
      if (!this.#create()) throw new KernelError(Errno.EBUSY, `another process took ${path}: give another --out`, 'lab')
    }
  }

  #create(): boolean {
    try {
      writeFileSync(this.#path, `${process.pid}\n`, { flag: 'wx' })
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw new KernelError(Errno.EIO, `${this.#path} cannot be written: ${(error as Error).message}`, 'lab')
    }
  }

  free(): void {
    rmSync(this.#path, { force: true })
  }
}

function isRunning(pid: number): boolean {
  if (!(pid > 0)) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
