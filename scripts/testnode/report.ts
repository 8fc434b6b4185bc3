// What a run of Node's tests came to: a table by module, what failed and why, and what was left out. For ../test-node.ts.
import type { Module } from './options.ts'
import type { Outcome } from './outcome.ts'
import type { Rule } from './rule.ts'

export interface Result {
  readonly module: Module
  /** The file's name. */
  readonly file: string
  readonly kind: Outcome['kind']
  readonly reason: string
  /** The name of the rule that left it out. */
  readonly rule?: string
  /** Node itself takes it for flaky here. */
  readonly flaky?: boolean
  readonly ms: number
  /** On plain Node. */
  readonly baseline?: Outcome
}

/** How a result counts. */
export type Verdict = 'pass' | 'fail' | 'kernel' | 'skip'

const isFailure = ({ kind }: { readonly kind: Outcome['kind'] }) => kind === 'fail' || kind === 'timeout'

/** A failure is none of ours when plain Node fails too. */
export function verdictOf(result: Result): Verdict {
  if (result.kind === 'pass') return 'pass'
  if (!isFailure(result)) return 'skip'
  return result.baseline !== undefined && isFailure(result.baseline) ? 'kernel' : 'fail'
}

/** A file's line. */
export function describe(result: Result): string {
  const verdict = verdictOf(result)
  const word = { pass: 'pass', fail: 'FAIL', kernel: 'fails on the kernel too', skip: 'skip' }[verdict]
  const flaky = result.flaky === true && verdict !== 'pass' ? ' (flaky, says Node)' : ''
  const reason = result.reason === '' ? '' : `: ${result.reason}`
  return `${word}${flaky}  ${result.file}${result.rule === undefined ? reason : `: ${result.rule}`}`
}

/** The whole report, for a terminal. */
export function summarize(results: readonly Result[], rules: readonly Rule[], baseline: boolean): string {
  const of = (verdict: Verdict) => results.filter((result) => verdictOf(result) === verdict)
  const lines = [...table(results)]
  const list = (title: string, some: readonly Result[], line: (result: Result) => string) => {
    if (some.length > 0) lines.push('', `${title} (${some.length})`, ...some.map((result) => `  ${line(result)}`))
  }
  const named = ({ file, kind, reason, flaky }: Result) =>
    `${file}${flaky === true ? ' (flaky, says Node)' : ''}: ${kind === 'timeout' ? 'timeout: ' : ''}${reason}`
  list(baseline ? 'fails, and passes on plain Node' : 'fails', of('fail'), named)
  list('fails on the kernel too', of('kernel'), (result) =>
    result.reason === result.baseline!.reason
      ? named(result)
      : `${named(result)} | on the kernel: ${result.baseline!.reason}`,
  )
  list(
    'passes, and fails on plain Node',
    of('pass').filter((result) => result.baseline !== undefined && isFailure(result.baseline)),
    (result) => `${result.file}: on the kernel: ${result.baseline!.reason}`,
  )
  const skipped = of('skip')
  for (const { name, reason } of rules) {
    const files = skipped.filter(({ rule }) => rule === name)
    if (files.length > 0) {
      lines.push(
        '',
        `left out by the rule "${name}": ${reason} (${files.length})`,
        `  ${files.map(({ file }) => file).join(' ')}`,
      )
    }
  }
  list(
    'skipped',
    skipped.filter(({ rule }) => rule === undefined),
    ({ file, reason }) => `${file}: ${reason}`,
  )
  return `${lines.join('\n')}\n`
}

function table(results: readonly Result[]): string[] {
  const modules = [...new Set(results.map(({ module }) => module))]
  const count = (some: readonly Result[], verdict: Verdict) =>
    some.filter((result) => verdictOf(result) === verdict).length
  const line = (name: string, some: readonly Result[]) => {
    const passed = count(some, 'pass')
    const failed = count(some, 'fail')
    const share = passed + failed === 0 ? '' : `${((100 * passed) / (passed + failed)).toFixed(1)} %`
    return [name, some.length, passed, failed, count(some, 'kernel'), count(some, 'skip'), share].map(String)
  }
  const rows = [
    ['module', 'files', 'pass', 'fail', 'fails on the kernel too', 'skip', 'pass of pass and fail'],
    ...modules.map((name) =>
      line(
        name,
        results.filter(({ module }) => module === name),
      ),
    ),
    line('all', results),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  )
}
