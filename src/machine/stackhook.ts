// Error.prepareStackTrace of a thread, while any of its CPUs traces: the stack of an error goes on through the queues, whoever reads it,
// so that errors which a handler catches, console.trace and failed assertions tell it as well as those that end the machine.
//
// V8 makes the text of a stack when somebody reads it for the first time, and asks then. What the stack goes on with is the chain of
// what runs at that time: for an error that is read where it was made, or thrown and caught, the chain of its maker. One that is kept
// unread, and read when something else runs, tells that one's; outside of handlers it tells nothing. Those that leave a handler are read
// at its edge (Tracer.explain). Read trace/tracer.ts first.
//
// Positions are those of the sources. Whatever was there before, of a program's own, makes the text and is gone on from; it comes back when
// the last CPU has ceased to trace. It is swapped for moments, by trace/callsite.ts among others, and nothing here minds.
import type { Cpu } from '../kernel/cpu.ts'
import { type SourcePositions, sourcePositions } from '../kernel/trace/sourcemap.ts'

type Prepare = (error: Error, sites: NodeJS.CallSite[]) => unknown

/** The name of Node's own, which it takes for none as well (lib/internal/errors.js). */
const NODES_OWN = 'ErrorPrepareStackTrace'
/** What Node's own errors have, so that their code stands in the first line. */
const NODE_ERROR = 'kIsNodeError'

export class StackHook {
  readonly #positions: SourcePositions
  /** In the order in which they came. */
  readonly #cpus = new Set<Cpu>()
  #before: unknown
  #isPreparing = false

  constructor(positions: SourcePositions = sourcePositions) {
    this.#positions = positions
  }

  /** From now on stacks of what runs on `cpu`, which is this thread's, go on. */
  add(cpu: Cpu): void {
    this.#cpus.add(cpu)
    if (Error.prepareStackTrace === this.#prepare) return
    this.#before = Error.prepareStackTrace
    Error.prepareStackTrace = this.#prepare
  }

  remove(cpu: Cpu): void {
    this.#cpus.delete(cpu)
    // Where a program has put its own in the place since, that stays; it may call this one, which then finds no CPU.
    if (this.#cpus.size > 0 || Error.prepareStackTrace !== this.#prepare) return
    Error.prepareStackTrace = this.#before as Prepare
    this.#before = undefined
  }

  readonly #prepare: Prepare = (error, sites) => {
    // In the midst of another: a program's own calls what it found, or the text itself needs one.
    if (this.#isPreparing) return this.#plain(error, sites)
    this.#isPreparing = true
    try {
      const before = this.#text(error, sites)
      if (typeof before !== 'string') return before
      const rest = this.#rest(error)
      return rest === '' ? before : `${before}\n${rest}`
    } finally {
      this.#isPreparing = false
    }
  }

  #text(error: Error, sites: NodeJS.CallSite[]): unknown {
    const before = this.#before
    if (typeof before !== 'function' || before.name === NODES_OWN) return this.#plain(error, sites)
    try {
      return Reflect.apply(before, Error, [error, sites])
    } catch {
      return this.#plain(error, sites)
    }
  }

  /** Who asks for a stack has trouble already: what cannot be told is left out. */
  #rest(error: Error): string {
    try {
      let running: Cpu | undefined
      // The one that came last of several: a machine that runs in another's handler.
      for (const cpu of this.#cpus) if (cpu.tracer.isKnown) running = cpu
      return running?.tracer.continuation(error) ?? ''
    } catch {
      return ''
    }
  }

  /** As Node makes it. */
  #plain(error: Error, sites: NodeJS.CallSite[]): string {
    return [headOf(error), ...sites.map((site) => `    at ${this.#frame(site)}`)].join('\n')
  }

  #frame(site: NodeJS.CallSite): string {
    const text = String(site)
    try {
      return sourceFrame(site, text, this.#positions)
    } catch {
      return text
    }
  }
}

/** V8's text with the place in the source for that in the compiled file. */
function sourceFrame(site: NodeJS.CallSite, text: string, positions: SourcePositions): string {
  const file = site.getScriptNameOrSourceURL() ?? site.getFileName()
  const line = site.getLineNumber()
  const column = site.getColumnNumber()
  if (!file || line === null || column === null) return text
  const original = positions.original({ function: '', file, line, column })
  // No map: as it is, by its URL.
  if (original.line === line && original.column === column) return text
  const place = `${file}:${line}:${column}`
  const at = text.lastIndexOf(place)
  if (at < 0) return text
  return `${text.slice(0, at)}${original.file}:${original.line}:${original.column}${text.slice(at + place.length)}`
}

function headOf(error: Error): string {
  try {
    return isNodeError(error) ? `${error.name} [${error.code}]: ${error.message}` : Error.prototype.toString.call(error)
  } catch {
    return '<error>'
  }
}

function isNodeError(error: Error): error is Error & { readonly code: string } {
  for (let each: unknown = error; each instanceof Error; each = Object.getPrototypeOf(each)) {
    if (Object.getOwnPropertySymbols(each).some(({ description }) => description === NODE_ERROR)) return true
  }
  return false
}

/** The thread's, as Error.prepareStackTrace is, whatever CPUs it runs. */
export const stackHook = new StackHook()
