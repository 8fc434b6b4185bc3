// One table of cases of TCP and UDP sockets (test/cases), under all disciplines, in the simulator and on both real hosts. Whoever runs all tests runs
// each case somewhere; `npm run test:hosts` runs all of them everywhere.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Discipline } from '../src/net/discipline.ts'
import type { Setting } from './cases/case.ts'
import { casesFor, run, stopInside } from './cases/run.ts'

const VARIANTS: readonly (readonly [Discipline, number | undefined])[] = [
  ['giant', undefined],
  ['msgp', undefined],
  ['connp-l', undefined],
  ['connp-l', 3],
  ['connp-t', undefined],
]
const HOSTS = ['sim', 'threads', 'inline'] as const
const SEED = 20_040_711
/** Of the short form each setting runs every so many-th case, beginning where the one before it did not. */
const PARTS = 4
const SHORT = ['sim, msgp', 'sim, connp-l with 3 groups', 'threads, connp-t', 'inline, giant']
/** Where a machine is stopped, by the connections that it has opened: each time its CPUs are somewhere else. */
const STOPS = { sim: 24, threads: 3, inline: 6 } as const

const isLong = process.env.DAMSELFLY_LONG !== undefined
const settings = HOSTS.flatMap((host) =>
  VARIANTS.map(([discipline, groups]) => {
    const name = `${host}, ${discipline}${groups === undefined ? '' : ` with ${groups} groups`}`
    const setting: Setting = { host, discipline, owners: 2, ...(groups === undefined ? {} : { groups }) }
    return { name, setting }
  }),
).filter(({ name }) => isLong || SHORT.includes(name))

for (const [number, { name, setting }] of settings.entries()) {
  const { host } = setting
  test(`${name}: the cases of sockets`, async (t) => {
    const names = casesFor(setting, isLong || host === 'sim').filter((_, i) => isLong || i % PARTS === number % PARTS)
    assert(names.length >= (isLong ? 60 : 12), `${names.length} cases`)
    for (const { name: title, failure } of await run(setting, names, SEED)) {
      await t.test(title, () => assert.equal(failure, undefined, `${title}, on ${name}: ${failure}`))
    }
  })

  test(`${name}: a machine that stops in the middle of its programs leaves no connection behind`, async () => {
    const stops = isLong ? STOPS[host] : 1
    for (let stop = 1; stop <= stops; stop++) await stopInside(setting, SEED + stop, 40 * stop)
  })
}
