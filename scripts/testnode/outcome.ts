// What came of a test: Node's rules for its own tests, and the line that says why. For ../test-node.ts.
import type { Ended } from './child.ts'

export interface Outcome {
  readonly kind: 'pass' | 'fail' | 'timeout' | 'skip' | 'interrupted'
  /** Empty for a pass. */
  readonly reason: string
}

/** A test passes by exit code 0; before it may have said, as TAP does, that it left itself out. */
export function outcomeOf(ended: Ended): Outcome {
  if (ended.stopped === 'interrupt') return { kind: 'interrupted', reason: 'interrupted' }
  if (ended.stopped === 'timeout') {
    const said = errorLine(ended.stderr) ?? lastLine(ended.stderr) ?? lastLine(ended.stdout)
    return { kind: 'timeout', reason: said === undefined ? 'no end in time' : `no end in time; it said: ${said}` }
  }
  if (ended.code === 0) {
    const [, why] = /^1\.\.0 # SKIP\S*[ \t]+(.*)/im.exec(ended.stdout) ?? []
    return why === undefined ? { kind: 'pass', reason: '' } : { kind: 'skip', reason: `the test itself: ${why.trim()}` }
  }
  const how = ended.signal === null ? `exit code ${ended.code}` : `ended by ${ended.signal}`
  const why = errorLine(ended.stderr) ?? mismatch(ended.stdout) ?? lastLine(ended.stderr) ?? lastLine(ended.stdout)
  if (why === undefined) return { kind: 'fail', reason: how }
  return { kind: 'fail', reason: ended.signal === null ? why : `${how}: ${why}` }
}

/** Longer lines are cut: some errors quote all that was received. */
const REASON_CHARACTERS_MAX = 300

/** The first line of what node prints of an error that nobody caught, and what that line announces with a colon. */
function errorLine(stderr: string): string | undefined {
  const lines = stderr.split('\n').map((line) => line.trim())
  const at = lines.findIndex((line) => ERROR.test(line))
  if (at < 0) return undefined
  const line = lines[at]!
  return cut(line.endsWith(':') ? `${line} ${announced(lines.slice(at + 1))}`.trim() : line)
}

/** The next line, or of a comparison the first that was not expected and the first that was. */
function announced(lines: readonly string[]): string {
  const [first = '', ...more] = lines.filter((line) => line !== '')
  if (!first.startsWith('+ actual - expected')) return first
  const signed = (sign: string) => more.find((line) => line.startsWith(`${sign} `))
  return `${signed('+') ?? ''} ${signed('-') ?? ''}`.replace(/\s+/g, ' ')
}

const ERROR = /^(?:Uncaught )?(?:[\w$.]*(?:Error|Exception|Failure)(?: \[\w+\])?(?::|$)|FATAL ERROR:|# Fatal error in)/

/** What Node's tests print when a function was not called as often as it must be, with the place that asked for it. */
function mismatch(stdout: string): string | undefined {
  const [, what, rest = ''] = /^(Mismatched .*)\n([\s\S]*)/m.exec(stdout) ?? []
  if (what === undefined) return undefined
  const places = [...rest.matchAll(/([^\s()]+\.m?js:\d+):\d+\)?$/gm)].map((match) => match[1]!)
  // The functions that do the counting come first.
  const place = places.find((path) => !/[\\/]common[\\/]/.test(path))?.replace(/^.*[\\/]/, '')
  return cut(place === undefined ? what : `${what} (${place})`)
}

function lastLine(text: string): string | undefined {
  const line = text.trimEnd().split('\n').at(-1)!.trim()
  return line === '' ? undefined : cut(line)
}

function cut(text: string): string {
  return text.length > REASON_CHARACTERS_MAX ? `${text.slice(0, REASON_CHARACTERS_MAX)}…` : text
}
