// What a run of scripts has come to, for people. For ../packetdrill.ts.
import type { Result } from './run.ts'

export interface ScriptResult extends Result {
  readonly name: string
}

const LABELS = { pass: 'pass', skip: 'skip', fail: 'FAIL' } as const

/** `FAIL close/fin.pkt:12: flags is expected to be F., and is .`, and what was compared below it. */
export function describe({ kind, name, line, reason }: ScriptResult): string {
  if (kind === 'pass') return `pass ${name}`
  const place = line === 0 ? name : `${name}:${line}`
  return `${LABELS[kind]} ${place}: ${reason.replaceAll('\n', '\n     ')}`
}

/** The totals, and how often each reason to skip came. */
export function summarize(results: readonly ScriptResult[]): string {
  const count = (kind: Result['kind']) => results.filter((result) => result.kind === kind).length
  const reasons = new Map<string, number>()
  for (const { kind, reason } of results) if (kind === 'skip') reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  const lines = [...reasons]
    .sort(([a, m], [b, n]) => n - m || a.localeCompare(b))
    .map(([reason, n]) => `  skipped ${n}: ${reason}`)
  return [
    `${results.length} scripts: ${count('pass')} pass, ${count('skip')} skip, ${count('fail')} fail`,
    ...lines,
  ].join('\n')
}
