// The trace of a write where nobody gives a better one: one hop, this process and the stack of the call. The same stack gives the same
// chain, so that it is encoded and put into a file only once. One object for each thread.
import { callSites, framesOf, sitesText } from '../../kernel/trace/callsite.ts'
import type { Chain, Frame } from '../../kernel/trace/chain.ts'

/** The function that was called: its own frame, and those that it has called, say nothing of the program. */
export type Below = (...parameters: never[]) => unknown

/** Stacks that are known: a program writes from few places. The oldest is forgotten. */
const KNOWN_MAX = 256
const TITLE_CHARACTERS = 128
const NAME_CHARACTERS = 256

/** Where programs are called from; what is below it is nobody's. */
const LOOP = new URL('loop.', import.meta.url).href

export class ProcessTraces {
  readonly #known = new Map<string, Chain>()

  /** The stack of whoever has called `below`, as long as `Error.stackTraceLimit` says. */
  take(below: Below): Chain {
    const sites = callSites(Error.stackTraceLimit, below)
    const title = printable(process.title).slice(0, TITLE_CHARACTERS)
    let key = title
    // A position tells a place by itself, and is not looked up as line and column are.
    for (const site of sites) key += `\n${site.getFileName()}:${site.getPosition()}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const chain = chainOf(programOf(framesOf(sitesText(sites)).map(frameOf)), title)
    this.#known.set(key, chain)
    if (this.#known.size > KNOWN_MAX) this.#known.delete(this.#known.keys().next().value!)
    return chain
  }
}

/** There is no machine, and no clock of one: time and CPU are 0. */
function chainOf(frames: readonly Frame[], title: string): Chain {
  const hop = { kind: 'process', cpu: 0, to: '', atUs: 0, id: 0, process: { pid: process.pid, title }, frames } as const
  return { hops: [hop], end: 'origin' }
}

function programOf(frames: readonly Frame[]): readonly Frame[] {
  const end = frames.findIndex(({ file }) => file.startsWith(LOOP))
  if (end < 0) return frames
  // Where the loop enters the program's scope.
  const isScope = frames[end - 1]?.function.includes('runInAsyncScope') === true
  return frames.slice(0, isScope ? end - 1 : end)
}

function frameOf({ function: name, file, line, column }: Frame): Frame {
  return { function: printable(name).slice(0, NAME_CHARACTERS), file: printable(file), line, column }
}

/** Without the control characters that no reader of a trace takes. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ')
}
