// All that `npm run fuzz` fuzzes, for a moment: the inputs that once failed, those that a run begins with, and some hundreds by chance,
// without the guidance of coverage.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Coverage } from '../../scripts/fuzz/coverage.ts'
import { Loop, runAll } from '../../scripts/fuzz/loop.ts'
import type { Target } from '../../scripts/fuzz/target.ts'
import { allTargets } from '../../scripts/fuzz/targets.ts'
import { Random, systemSeed } from '../../src/base/random.ts'

/** Inputs by chance; of those that cost more, fewer. */
const INPUTS: { readonly [target: string]: number } = {
  tcp: 60,
  icmp: 60,
  control: 60,
  results: 100,
  pcap: 2000,
  'tcp-options': 3000,
}
const INPUTS_USUAL = 200
const SEED = 1

const targets = new Map(allTargets().map((target) => [target.name, target]))
const text = (string: string) => new TextEncoder().encode(string)

/** What has failed once, and what is wrong in a way of its own. */
const REGRESSIONS: readonly (readonly [target: string, what: string, ...inputs: readonly Uint8Array[]])[] = [
  ['results', 'a format that no text can be made of', text('{"format":{"toString":1}}')],
  [
    'results',
    'a version that no text can be made of',
    text('{"format":"damselfly-lab-results","version":{"toString":1}}'),
  ],
  [
    'control',
    'orders that are no objects',
    ...['null', '[]', '"order"', '1e999', 'true'].map((line) => text(`${line}\n`)),
  ],
  [
    'control',
    'names that are an object’s own',
    text('{"__proto__":{"polluted":1},"order":"discipline","discipline":"giant"}\n'),
    text('{"constructor":{"prototype":{"polluted":1}},"order":"__proto__"}\n'),
    text('{"order":"discipline","discipline":"__proto__"}\n'),
    text('{"order":"discipline","discipline":"constructor","groups":{"__proto__":1}}\n'),
    text('{"order":"trace","view":"toString"}\n'),
    text('{"order":"trace","view":"port","port":"__proto__","limit":1,"patienceMs":0}\n'),
  ],
  [
    'control',
    'what is nested deep',
    text(`${'['.repeat(4000)}\n`),
    text(`${'{"a":'.repeat(600)}1${'}'.repeat(600)}\n`),
  ],
  [
    'control',
    'code',
    text('process.exit(1)\n'),
    text('{"order":"eval","code":"process.exit(1)"}\n'),
    text('`process.exit(1)`\n'),
  ],
  ['control', 'no end, and no text', text('{"order":'), new Uint8Array(5000).fill(0xff), Uint8Array.of(0, 10)],
]

for (const [name, what, ...inputs] of REGRESSIONS) {
  test(`${name}: ${what}`, async () => {
    assert.equal(await runAll(targets.get(name)!, inputs), undefined)
  })
}

describe('for a moment', () => {
  for (const target of targets.values()) {
    test(`${target.name} is fuzzed, and nothing is found`, async () => {
      for (const seed of [SEED, systemSeed()]) await fuzz(target, seed)
    })
  }
})

async function fuzz(target: Target, seed: number): Promise<void> {
  const inputs = INPUTS[target.name] ?? INPUTS_USUAL
  const watcher = { onInput: () => {}, onProgress: (progress: { inputs: number }) => progress.inputs >= inputs }
  const finding = await new Loop(target, new Random(seed), new Coverage(new Uint8Array(4)), watcher).run()
  if (finding === undefined) return
  const shown = finding.inputs.map((input) => Buffer.from(input).toString('hex'))
  assert.fail(`seed ${seed}: ${finding.error}\ninputs: ${shown.join(' ')}`)
}
