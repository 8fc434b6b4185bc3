// The scripts of a folder. For ../packetdrill.ts.
import { readdirSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'

/** Something is wrong with the command's arguments; the message says what to give. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

const EXTENSION = '.pkt'

export interface ScriptFile {
  readonly path: string
  /** Relative to the folder, with `/`. */
  readonly name: string
}

/**
 * All files that end in .pkt in the folder and those below it, by name; or the one file that `path` is.
 * @throws UsageError where there is none
 */
export function listScripts(path: string): ScriptFile[] {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) throw new UsageError(`there is no ${path}: give a folder that has packetdrill scripts`)
  if (stat.isFile()) return [{ path, name: path.split(sep).at(-1)! }]
  if (!stat.isDirectory()) throw new UsageError(`${path} is no folder: give one that has packetdrill scripts`)
  const files = walk(path).sort()
  if (files.length === 0)
    throw new UsageError(`no file in ${path} or below it ends in ${EXTENSION}: give a folder of scripts`)
  return files.map((file) => ({ path: file, name: relative(path, file).split(sep).join('/') }))
}

/** Links to folders are not followed, so that this ends. */
function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return walk(path)
    return entry.name.endsWith(EXTENSION) && statSync(path, { throwIfNoEntry: false })?.isFile() === true ? [path] : []
  })
}
