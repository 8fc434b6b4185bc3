// What a hostile packet costs does not grow with how many there were: the classes of attacks that live from lists which get longer. Work is
// counted in edges of the code, of an instrumented copy of it, so that no clock is asked. DAMSELFLY_LONG=1 sends a hundred thousand of each, and a
// million SYNs: a minute and a half in all.
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { EDGES, instrumentTree, type Tree } from '../../scripts/fuzz/instrument.ts'
import { ATTACKS } from '../../scripts/fuzz/work.ts'

const IS_LONG = process.env.DAMSELFLY_LONG !== undefined
const PACKETS = 500
/** Of so many packets each. */
const ROUNDS = 12
const LONG_ROUNDS = 200
/** A flood of SYNs is a million (item 35 of the list that hostile.test.ts begins). */
const LONG_ROUNDS_OF: { readonly [attack: string]: number } = { 'SYNs from everywhere': 2000 }
/** Of a packet: what the whole way up and an answer take, several times over. */
const EDGES_PER_PACKET = 1000

type Work = typeof import('../../scripts/fuzz/work.ts')

describe('the work for each of many', () => {
  let tree: Tree
  let edges: Uint32Array
  let work: Work
  before(async () => {
    tree = instrumentTree(fileURLToPath(new URL('../../', import.meta.url)))
    edges = new Uint32Array(tree.edges)
    Object.assign(globalThis, { [EDGES]: edges })
    work = (await import(pathToFileURL(join(tree.folder, 'scripts/fuzz/work.js')).href)) as Work
  })
  after(() => rmSync(tree.folder, { recursive: true, force: true }))

  for (const attack of Object.keys(ATTACKS)) {
    const count = IS_LONG ? (LONG_ROUNDS_OF[attack] ?? LONG_ROUNDS) : ROUNDS
    test(`${attack} stays the same, for ${count * PACKETS} packets`, () => {
      const rounds = work.workOf(attack, count, PACKETS, edges)
      const quarter = Math.ceil(count / 4)
      const early = Math.max(...rounds.slice(0, quarter))
      const late = Math.max(...rounds.slice(-quarter))
      assert(late <= 1.5 * early, `${rounds}`)
      assert(Math.max(...rounds) <= EDGES_PER_PACKET * PACKETS, `${rounds}`)
    })
  }
})
