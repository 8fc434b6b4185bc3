// Results and plans of the laboratory, as they lie in a file. A file is refused with a sentence and left as it is; or it is results of which
// the report can be made, whose text of the file does nothing in a browser.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KernelError } from '../../../src/base/errno.ts'
import type { Random } from '../../../src/base/random.ts'
import { steps } from '../../../src/lab/plan.ts'
import { reportText } from '../../../src/lab/report/report.ts'
import { planText, readPlan, readResults, resultsText } from '../../../src/lab/results.ts'
import { fakeExperiment, fakePlan, fakeResults, fakeRun } from '../../../src/lab/testing/fake.ts'
import { type Bytes, mutate } from '../mutation.ts'
import type { Session, Target } from '../target.ts'
import { mutateJson } from './json.ts'

/** More runs than this are refused, or take longer than an input has. */
const EXPERIMENTS = [fakeExperiment('sizes', { size: [1, 2] })]
const PLAN = fakePlan(EXPERIMENTS, 2)
const RESULTS = fakeResults(PLAN, [
  fakeRun('size=2', 0, { metrics: { rate: 2000 }, tables: { waits: { columns: ['a'], rows: [['b'], [1]] } } }),
  fakeRun('size=1', 0, { error: 'it "failed"\nat once' }),
  fakeRun('size=1', 1, { impossible: 'not here' }),
])

export const resultsTarget: Target = {
  name: 'results',
  inputs: 100_000,
  seeds: () => [resultsText(RESULTS), planText(PLAN), '{}', ''].map((text) => new TextEncoder().encode(text)),
  open: () => new FileSession(),
  mutate: changeText,
}

class FileSession implements Session {
  readonly #root = mkdtempSync(join(tmpdir(), 'df-'))
  readonly #path = join(this.#root, 'results.json')

  async run(input: Bytes): Promise<void> {
    writeFileSync(this.#path, input)
    const results = await orRefusal(readResults(this.#path))
    const plan = await orRefusal(readPlan(this.#path))
    assert.equal(Buffer.compare(readFileSync(this.#path), input), 0, 'the file is left as it is')
    assert.equal(({} as { polluted?: unknown }).polluted, undefined, 'no prototype was changed')
    if (plan !== undefined) assert(steps(plan).length > 0 || plan.experiments.length > 0, 'a plan has experiments')
    if (results === undefined) return
    writeFileSync(this.#path, resultsText(results))
    assert.deepEqual(await readResults(this.#path), results, 'what was read can be written and read again')
    const report = await orRefusal(Promise.resolve().then(() => reportText(EXPERIMENTS, results)))
    if (report !== undefined) assert.doesNotMatch(report, /<script|<img|onerror=["']/i)
  }

  close(): void {
    rmSync(this.#root, { recursive: true, force: true })
  }
}

/** What it gives, or undefined where it was refused as it should be. */
async function orRefusal<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    assert(error.message.length > 10, 'a refusal has a sentence')
    return undefined
  }
}

function changeText(random: Random, input: Bytes, other: Bytes): Bytes {
  if (random.chance(0.2)) return mutate(random, input, other)
  const text = mutateJson(random, new TextDecoder().decode(input), new TextDecoder().decode(other))
  return new TextEncoder().encode(text).subarray(0, 16_384)
}
