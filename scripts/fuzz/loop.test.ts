import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { Coverage } from './coverage.ts'
import { Loop } from './loop.ts'
import type { Bytes } from './mutation.ts'
import type { Target } from './target.ts'

const SECRET = [0x10, 0xa7, 0x3c, 0x91]

/** A parser that fails behind four bytes of a magic number; it tells how far an input came. */
function magic(edges: Uint8Array, more: Partial<Target> = {}): Target {
  const run = (input: Bytes) => {
    for (let i = 0; i < SECRET.length; i++) {
      edges[i] = 1
      if (input[i] !== SECRET[i]) return
    }
    throw new Error(`the secret is out, ${input.length} bytes`)
  }
  return { name: 'magic', seeds: () => [new Uint8Array(8)], open: () => ({ run, close: () => {} }), ...more }
}

const until = (inputs: number) => ({
  onInput: () => {},
  onProgress: (progress: { inputs: number }) => progress.inputs >= inputs,
})

test('an input that 2^32 guesses would find is found by its edges, and made small', async () => {
  const edges = new Uint8Array(8)
  const finding = await new Loop(magic(edges), new Random(1), new Coverage(edges), until(200_000)).run()
  assert(finding !== undefined)
  assert.match(finding.error, /^Error: the secret is out/)
  assert.deepEqual(
    finding.inputs.map((input) => [...input]),
    [SECRET],
  )
  assert.equal(finding.isRepeatable, true)
})

test('without what edges tell it is not', async () => {
  const finding = await new Loop(
    magic(new Uint8Array(8)),
    new Random(1),
    new Coverage(new Uint8Array(8)),
    until(200_000),
  ).run()
  assert.equal(finding, undefined)
})

test('what takes several inputs, and shows at the end of the session, is found with those that it takes', async () => {
  const edges = new Uint8Array(8)
  const target: Target = {
    name: 'sum',
    inputs: 50,
    seeds: () => [Uint8Array.of(1, 2, 3)],
    open: () => {
      const met = new Set<number>()
      return {
        run: (input) => {
          edges[input.length & 7] = 1
          met.add(input.length)
        },
        close: () => assert(!(met.has(2) && met.has(7)), 'both were there'),
      }
    },
  }
  const finding = await new Loop(target, new Random(2), new Coverage(edges), until(100_000)).run()
  assert.deepEqual(finding?.inputs.map(({ length }) => length).sort(), [2, 7])
})

test('an error that comes only once is told as such, with all that was run', async () => {
  let left = 30
  const edges = new Uint8Array(8)
  const run = () => {
    if (--left === 0) throw new Error('only now')
  }
  const target = magic(edges, { open: () => ({ run, close: () => {} }) })
  const finding = await new Loop(target, new Random(3), new Coverage(edges), until(1000)).run()
  assert.deepEqual([finding?.isRepeatable, finding?.inputs.length], [false, 30])
})

test('the same seed makes the same inputs', async () => {
  const inputsOf = async (seed: number) => {
    const inputs: string[] = []
    const edges = new Uint8Array(8)
    const watcher = { ...until(300), onInput: (input: Bytes) => inputs.push(Buffer.from(input).toString('hex')) }
    await new Loop(magic(edges), new Random(seed), new Coverage(edges), watcher).run()
    return inputs
  }
  assert.deepEqual(await inputsOf(4), await inputsOf(4))
  assert.notDeepEqual(await inputsOf(4), await inputsOf(5))
})
