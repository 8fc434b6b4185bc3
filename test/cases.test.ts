// One table of cases of TCP and UDP sockets (test/cases), under all disciplines, in the simulator and on both real hosts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Discipline } from '../src/net/discipline.ts'
import type { Setting } from './cases/case.ts'
import { casesFor, run } from './cases/run.ts'

const VARIANTS: readonly (readonly [Discipline, number | undefined])[] = [
  ['giant', undefined],
  ['msgp', undefined],
  ['connp-l', undefined],
  ['connp-l', 3],
  ['connp-t', undefined],
]
const HOSTS = ['sim', 'threads', 'inline'] as const
const isLong = process.env.DAMSELFLY_LONG !== undefined
const only = process.env.CASE

for (const host of HOSTS) {
  for (const [discipline, groups] of VARIANTS) {
    const setting: Setting = { host, discipline, owners: 2, ...(groups === undefined ? {} : { groups }) }
    const name = groups === undefined ? discipline : `${discipline} with ${groups} groups`
    test(`${host}, ${name}`, async (t) => {
      const names = casesFor(setting, isLong).filter((each) => only === undefined || each.includes(only))
      for (const { name: title, failure } of await run(setting, names, 1)) {
        await t.test(title, () => assert.equal(failure, undefined))
      }
    })
  }
}
