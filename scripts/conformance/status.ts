// How far a requirement is met, by what the tags say of it. For report.ts and project.ts.
import type { Requirement } from './requirement.ts'
import type { Mention } from './source.ts'

/** In the order in which the summary lists them, the best first. */
export const STATUSES = [
  'met and tested',
  'met, no test',
  'tested, no code tag',
  'met in part',
  'not done',
  'not applicable',
  'missing',
] as const
export type Status = (typeof STATUSES)[number]

export interface Judgement {
  readonly status: Status
  /** Why not, or not all; empty where that is not to be asked. */
  readonly reason: string
}

/** A table of requirements, and the file that holds it, from the folder of the report. */
export interface Table {
  readonly rfc: number
  readonly title: string
  readonly file: string
  readonly requirements: readonly Requirement[]
}

/** The RFC whose ids other tables refer to, for what it says again. */
const AGAIN = 9293

/** What the mentions of one requirement say about it. */
export function statusOf(mentions: readonly Mention[]): Judgement {
  const code = mentions.some(({ kind }) => kind === 'code')
  const test = mentions.some(({ kind }) => kind === 'test')
  const reasons = [...new Set(mentions.flatMap(({ reason }) => (reason === undefined ? [] : [reason])))]
  const reason = reasons.map((text) => text.replace(NOT_DONE, '').replace(NOT_APPLICABLE, '')).join('; ')
  if (reasons.length > 0 && (code || test)) return { status: 'met in part', reason }
  if (reasons.some((text) => NOT_DONE.test(text))) return { status: 'not done', reason }
  if (reasons.length > 0) return { status: 'not applicable', reason }
  if (code) return { status: test ? 'met and tested' : 'met, no test', reason }
  return { status: test ? 'tested, no code tag' : 'missing', reason }
}

const NOT_DONE = /^not done\b[\s:,;]*/i
const NOT_APPLICABLE = /^not applicable\b[\s:,;]*/i

/** What is said about a requirement of an RFC: of its own, or the worst of those that it refers to. */
export function judge(rfc: number, { id, as }: Requirement, mentions: readonly Mention[]): Judgement {
  if (as.length === 0) return statusOf(mentionsOf(rfc, id, mentions))
  const judged = as.map((other) => statusOf(mentionsOf(AGAIN, other, mentions)))
  const status = STATUSES[Math.max(...judged.map((one) => STATUSES.indexOf(one.status)))]!
  const reasons = new Set(judged.flatMap(({ reason }) => (reason === '' ? [] : [reason])))
  return { status, reason: [...reasons].join('; ') }
}

export function mentionsOf(rfc: number, reference: string, mentions: readonly Mention[]): Mention[] {
  return mentions.filter((mention) => mention.rfc === rfc && mention.reference === reference)
}

/**
 * What somebody has to do still, a sentence each: what an RFC demands is met and tested, or there is a reason; and of anything else
 * it is said at least how it stands.
 */
export function unproven(tables: readonly Table[], mentions: readonly Mention[]): string[] {
  return tables.flatMap(({ rfc, requirements }) =>
    requirements.flatMap((requirement) => {
      const { status, reason } = judge(rfc, requirement, mentions)
      const { id, level, feature } = requirement
      const isDemanded = level === 'MUST' || level === 'MUST NOT'
      if (reason !== '' || status === 'met and tested' || (!isDemanded && status !== 'missing')) return []
      return [`RFC ${rfc} ${id} (${level}, ${feature}) is ${status}: tag the code and a test, or say why not`]
    }),
  )
}
