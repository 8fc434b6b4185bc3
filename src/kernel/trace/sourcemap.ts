// From a place in a compiled file to the place in the source that it was made of, by the source map that the file names. Maps are read when
// somebody looks at a trace, and kept; where there is none the place stays as it is.
import { readFileSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Frame } from './chain.ts'

/** Finds the sources' positions. */
export interface SourcePositions {
  original(frame: Frame): Frame
}

/** Maps that are kept; beyond that all are read anew. */
const MAPS_MAX = 512
/** At the end of a compiled file. */
const NAMED = /^\/\/[#@] sourceMappingURL=(\S+)\s*$/gm
const INLINE = /^data:application\/json(?:;charset=[^;,]+)?;base64,/

interface Loaded {
  readonly map: SourceMap
  /** What relative paths of sources are relative to. */
  readonly folder: string
}

export class SourceMaps implements SourcePositions {
  readonly #maps = new Map<string, Loaded | undefined>()

  original(frame: Frame): Frame {
    const path = pathOf(frame.file)
    if (path === undefined || frame.line === 0) return frame
    const loaded = this.#mapOf(path)
    // Positions of a map begin with 0.
    const entry = loaded?.map.findEntry(frame.line - 1, frame.column - 1)
    if (loaded === undefined || entry === undefined || !('originalSource' in entry) || entry.originalSource === '') {
      return { ...frame, file: path }
    }
    const { originalSource, originalLine, originalColumn } = entry
    const source = originalSource.startsWith('file:') ? fileURLToPath(originalSource) : originalSource
    return { ...frame, file: resolve(loaded.folder, source), line: originalLine + 1, column: originalColumn + 1 }
  }

  #mapOf(path: string): Loaded | undefined {
    if (!this.#maps.has(path)) {
      if (this.#maps.size >= MAPS_MAX) this.#maps.clear()
      this.#maps.set(path, load(path))
    }
    return this.#maps.get(path)
  }
}

/** The process's: what it has read does not depend on who asks. */
export const sourcePositions: SourcePositions = new SourceMaps()

function pathOf(file: string): string | undefined {
  if (file.startsWith('file:')) return fileURLToPath(file)
  return file.startsWith('/') ? file : undefined
}

/** A map that cannot be read or is none says nothing, as if there were none: whoever looks at a trace wants the trace. */
function load(path: string): Loaded | undefined {
  try {
    const named = [...readFileSync(path, 'utf8').matchAll(NAMED)].at(-1)?.[1]
    if (named === undefined) return undefined
    const isInline = INLINE.test(named)
    const file = isInline ? path : resolve(dirname(path), decodeURIComponent(named))
    const text = isInline
      ? Buffer.from(named.replace(INLINE, ''), 'base64').toString('utf8')
      : readFileSync(file, 'utf8')
    const payload = JSON.parse(text) as SourceMapPayload
    return { map: new SourceMap(payload), folder: resolve(dirname(file), payload.sourceRoot ?? '') }
  } catch {
    return undefined
  }
}
