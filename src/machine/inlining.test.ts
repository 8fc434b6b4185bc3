import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inliningFlag } from './inlining.ts'

const PROGRAM = fileURLToPath(new URL('./testing/inlining-program.js', import.meta.url))

/** How many of forty functions V8 compiles into the one that calls them. */
function inlined(execArgv: readonly string[], ...args: readonly string[]): number {
  const { stdout } = spawnSync(process.execPath, [...execArgv, PROGRAM, ...args], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => /^Inlining .* into/.test(line)).length
}

test('V8 compiles more of what a function calls into it, also when the process runs already', () => {
  const [before, after] = [inlined([]), inlined([], 'more')]
  assert.ok(before > 0 && before < 10, `${before}`)
  assert.ok(after > 3 * before, `${before} and ${after}`)
})

test('a process whose owner has set the bound keeps it', () => {
  assert.equal(inlined(['--max-inlined-bytecode-size-cumulative=920'], 'more'), inlined([]))
  assert.equal(inliningFlag(['--inspect', '--max_inlined_bytecode_size_cumulative=920']), undefined)
  assert.match(inliningFlag(['--max-inlined-bytecode-size=460'])!, /^--max-inlined-bytecode-size-cumulative=\d+$/)
})
