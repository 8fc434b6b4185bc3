import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../base/random.ts'
import { INFERRED, SiteMemory } from './site.ts'

/** Looks until it need not. Returns how often. */
function looksOf(sites: SiteMemory, key: number, stack: number, most = 100): number {
  let looks = 0
  while (looks < most && sites.guess(key) === undefined) {
    sites.saw(key, stack)
    looks++
  }
  return looks
}

test('what was seen sixteen times from one place is taken to come from there, and says that nobody looked', () => {
  const sites = new SiteMemory(new Random(1))
  assert.equal(looksOf(sites, 5, 77), 16)
  assert.equal(sites.guess(5), 77 | INFERRED)
  assert.equal(sites.guess(6), undefined)
})

test('one of some is looked at all the same, the more seldom the more have agreed', () => {
  const sites = new SiteMemory(new Random(2))
  looksOf(sites, 5, 77)
  const looksIn = (count: number) => {
    let looks = 0
    for (let i = 0; i < count; i++) {
      if (sites.guess(5) !== undefined) continue
      looks++
      sites.saw(5, 77)
    }
    return looks
  }
  const looks = [looksIn(10_000), looksIn(10_000), looksIn(100_000), looksIn(100_000)]
  const [first, second, , steady] = looks as [number, number, number, number]
  assert.ok(first > 90 && first < 180, `${looks}`)
  assert.ok(second < first * 0.6, `${looks}`)
  assert.ok(steady > 300 && steady < 500, `${looks}`)
})

test('a second place has every one looked at from then on', () => {
  const sites = new SiteMemory(new Random(3))
  looksOf(sites, 5, 77)
  while (sites.guess(5) !== undefined);
  sites.saw(5, 78)
  assert.equal(looksOf(sites, 5, 77, 1000), 1000)
})

test('that there is no stack is remembered as well', () => {
  const sites = new SiteMemory(new Random(4))
  looksOf(sites, 5, 0)
  assert.equal(sites.guess(5), 0)
})
