// The discipline that hosts under test have: the same cases run under each. test/disciplines.test.ts runs them under all.
import assert from 'node:assert/strict'
import type { HostConfig } from '../config.ts'
import { DISCIPLINES, type Discipline } from '../discipline.ts'

export const VARIABLE = 'DAMSELFLY_DISCIPLINE'

/** What the environment says, `connp-t` or `connp-l` or with a number of groups `connp-l/16`; nothing: the default. */
export function disciplineUnderTest(): Pick<HostConfig, 'discipline' | 'groups'> {
  const text = process.env[VARIABLE] ?? ''
  if (text === '') return {}
  const [name, groups] = text.split('/')
  assert(DISCIPLINES.includes(name as Discipline), `${VARIABLE} is "${text}"`)
  return { discipline: name as Discipline, ...(groups === undefined ? {} : { groups: Number(groups) }) }
}
