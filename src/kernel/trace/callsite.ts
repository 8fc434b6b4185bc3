// The JavaScript stack, taken as cheaply as V8 gives it: call sites that are told apart by their positions, and become text only
// when they have not been seen before. Taking one costs 4 to 6 µs, most of it whatever is taken, and text as much again.
import type { Frame } from './chain.ts'

/** What is used of V8's CallSite. */
export interface CallSite {
  getFunctionName(): string | null
  getMethodName(): string | null
  getTypeName(): string | null
  getFileName(): string | null | undefined
  getLineNumber(): number | null
  getColumnNumber(): number | null
  getPosition(): number
  isNative(): boolean
  isConstructor(): boolean
  isAsync(): boolean
  isToplevel(): boolean
}

type Prepare = (error: Error, sites: NodeJS.CallSite[]) => unknown

/**
 * The call sites from the caller of `below` on, innermost first, at most `limit`. Empty where `below` is not on the stack, or the engine
 * has no such thing.
 */
export function callSites(limit: number, below: (...parameters: never[]) => unknown): readonly CallSite[] {
  if (Error.captureStackTrace === undefined) return []
  const { stackTraceLimit } = Error
  const prepare = Error.prepareStackTrace
  const holder: { stack?: unknown } = {}
  Error.stackTraceLimit = limit
  Error.prepareStackTrace = asTheyAre
  try {
    Error.captureStackTrace(holder, below)
    return Array.isArray(holder.stack) ? (holder.stack as CallSite[]) : []
  } finally {
    Error.stackTraceLimit = stackTraceLimit
    Error.prepareStackTrace = prepare as NonNullable<typeof Error.prepareStackTrace>
  }
}

const asTheyAre: Prepare = (_error, sites) => sites

/** Whether some frame is of neither Node nor this package: of a program. */
export function hasProgram(sites: readonly CallSite[]): boolean {
  return sites.some((site) => {
    const file = site.getFileName()
    return file !== null && file !== undefined && !file.startsWith('node:') && !OWN.test(file)
  })
}

/** Files of this package, but for its tests and what they run. */
const OWN = packageFiles('kernel|machine|device|net|socket|node|stack')

/** Whether a compiled file is of one of these layers, and no test. */
export function packageFiles(layers: string): RegExp {
  const folder = new URL('../../', import.meta.url).pathname.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`${folder}(?:${layers})(?!.*(?:\\.test\\.|/testing/))[/.]`)
}

/** The same number for the same places. Positions of all frames and the innermost script tell two stacks apart. */
export function sitesHash(sites: readonly CallSite[]): number {
  let hash = sites.length
  for (let i = 0; i < sites.length; i++) hash = Math.imul(hash ^ sites[i]!.getPosition(), 0x01000193)
  return hash
}

/** As text: a line for each frame {function, file, line, column}, with tabs between. */
export function sitesText(sites: readonly CallSite[]): string {
  return sites
    .filter((site) => !isResumption(site))
    .map((site) => {
      const file = site.getFileName() ?? (site.isNative() ? 'native' : '<anonymous>')
      return [nameOf(site), file, site.getLineNumber() ?? 0, site.getColumnNumber() ?? 0]
        .join('\t')
        .replaceAll('\n', ' ')
    })
    .join('\n')
}

/** What `sitesText` has made text of. */
export function framesOf(text: string): Frame[] {
  return text.split('\n').flatMap((line) => {
    const [name, file, lineNumber, column] = line.split('\t')
    if (file === undefined || column === undefined) return []
    return [{ function: name ?? '', file, line: Number(lineNumber), column: Number(column) }]
  })
}

/** V8's own frame between a generator and whoever resumes it says nothing. */
function isResumption(site: CallSite): boolean {
  return !site.getFileName() && site.getFunctionName() === 'next'
}

/** As V8 writes it before the place. */
function nameOf(site: CallSite): string {
  const name = site.getFunctionName() ?? ''
  const prefix = `${site.isAsync() ? 'async ' : ''}${site.isConstructor() ? 'new ' : ''}`
  if (name === '' || site.isConstructor() || site.isToplevel()) return `${prefix}${name}`
  const type = site.getTypeName() ?? ''
  const isQualified = type === '' || name.startsWith(`${type}.`) || type === 'Object' || type === 'Function'
  const method = site.getMethodName()
  const alias = method !== null && method !== name && !name.endsWith(`.${method}`) ? ` [as ${method}]` : ''
  return `${prefix}${isQualified ? name : `${type}.${name}`}${alias}`
}
