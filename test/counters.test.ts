// What is counted is described: each set of counters that the stack declares has its place in docs/COUNTERS.md, and each set that
// is described there is declared.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

test('docs/COUNTERS.md describes each set of counters, and no other', () => {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) => {
    return name.endsWith('.ts') && !/\.test\.ts$|(^|\/)(testing|lab)\//.test(name)
  })
  const declared = files.flatMap((name) => {
    const text = readFileSync(join(root, 'src', name), 'utf8')
    return [...text.matchAll(/counterSet\('([^']+)'/g)].map(([, set]) => set!)
  })
  const [, section] = readFileSync(join(root, 'docs/COUNTERS.md'), 'utf8').split('## The sets')
  const rows = section!.split('\n').filter((line) => line.startsWith('| `'))
  const described = rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, set]) => set!))
  assert(declared.length > 15)
  assert.deepEqual(described.toSorted(), declared.toSorted())
})
