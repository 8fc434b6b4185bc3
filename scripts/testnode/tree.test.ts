import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeTree } from './testing/tree.ts'
import { findTree, flagsOf, listFiles } from './tree.ts'

test('the tests are found from the checkout, from its folder test, and from test/parallel', (t) => {
  const root = makeTree(t, {})
  for (const folder of [root, `${root}/test`, `${root}/test/parallel`]) {
    assert.deepEqual(findTree(folder), { root, parallel: `${root}/test/parallel` })
  }
})

test('a folder without the tests, or with nothing but them, is refused', (t) => {
  const root = makeTree(t, {})
  assert.throws(() => findTree(`${root}/test/common`), /has no test\/parallel: give a checkout/)
  assert.throws(() => findTree(makeTree(t, {}, '')), /has no common\/index.js, which Node's tests need/)
})

test('files are listed by module and name, and only the modules own', (t) => {
  const names = [
    'test-net-b.js',
    'test-net-a.mjs',
    'test-http-a.js',
    'test-http2-a.js',
    'test-tls-a.js',
    'net.js',
    'test-net-c.txt',
  ]
  const tree = findTree(makeTree(t, Object.fromEntries(names.map((name) => [name, '']))))
  const listed = (...rest: [RegExp?]) =>
    listFiles(tree, ['net', 'http'], rest[0]).map(({ module, name }) => `${module} ${name}`)
  assert.deepEqual(listed(), ['net test-net-a.mjs', 'net test-net-b.js', 'http test-http-a.js'])
  assert.deepEqual(listed(/-a\./), ['net test-net-a.mjs', 'http test-http-a.js'])
})

test('flags are those of the first comment that has some', () => {
  assert.deepEqual(flagsOf("'use strict'\n// Flags: --expose-gc  --expose-internals\n// Flags: --no\n"), [
    '--expose-gc',
    '--expose-internals',
  ])
  assert.deepEqual(flagsOf('// Flagship\nf()'), [])
})
