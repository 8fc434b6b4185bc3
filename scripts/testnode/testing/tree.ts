// A small folder in the shape of Node's tests, for the tests of the runner. It goes when the test ends.
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/**
 * Makes `test/parallel` with these files, and `test/common` beside it.
 *
 * @param common the text of test/common/index.js; none is written for an empty one
 * @returns the folder above `test`
 */
export function makeTree(t: TestContext, files: Readonly<Record<string, string>>, common = '// common\n'): string {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'damselfly-tree-')))
  t.after(() => rmSync(root, { recursive: true }))
  for (const folder of ['parallel', 'common']) mkdirSync(join(root, 'test', folder), { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, 'test', 'parallel', name), text)
  if (common !== '') writeFileSync(join(root, 'test', 'common', 'index.js'), common)
  return root
}
