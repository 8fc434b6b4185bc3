// The laboratory as a process: what it says and writes, how it goes on after it was killed, and what it refuses.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Command, environment, MAIN, until } from '../../test/command.ts'
import { steps } from '../lab/plan.ts'
import { type Results, readResults } from '../lab/results.ts'
import { FAKE_LABORATORY } from '../lab/testing/fake.ts'
import { GATE, STARTS } from '../lab/testing/workloads/fake.ts'
import { lab } from './lab.ts'

const PROGRAM = fileURLToPath(new URL('../lab/testing/lab-program.js', import.meta.url))

let root: string
before(() => {
  root = mkdtempSync(join(tmpdir(), 'df-'))
})
after(() => rmSync(root, { recursive: true, force: true }))

/** A folder of its own for each test, with what the fake workload looks at. */
class Place {
  readonly folder = mkdtempSync(join(root, 'x'))
  readonly out = join(this.folder, 'out')
  readonly gate = join(this.folder, 'gate')
  readonly starts = join(this.folder, 'starts')

  start(t: TestContext, args: readonly string[], program = PROGRAM): Command {
    const env = environment({ [GATE]: this.gate, [STARTS]: this.starts })
    const child = spawn(process.execPath, ['--enable-source-maps', ...process.execArgv, program, ...args], {
      cwd: this.folder,
      env,
    })
    t.after(() => child.kill('SIGKILL'))
    return new Command(child)
  }

  run(t: TestContext, args: readonly string[]) {
    return this.start(t, args).ended
  }

  text(name: string): string {
    return readFileSync(join(this.out, name), 'utf8')
  }

  async results(): Promise<Results> {
    return (await readResults(join(this.out, 'results.json')))!
  }

  /** The cells that were started, in order: the id of their process and their parameters. */
  started(): { pid: number; parameters: string }[] {
    if (!existsSync(this.starts)) return []
    return readFileSync(this.starts, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => ({ pid: Number(line.split(' ')[0]), parameters: line.slice(line.indexOf(' ') + 1) }))
  }
}

/** Short, and the same each time. */
const SHORT = ['--seed', '3', '--seconds', '0.01'] as const

const isRunning = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('damselfly lab', { concurrency: 2 }, () => {
  test('writes its results, its plan, a CSV and a report, and shows tables and conclusions', async (t) => {
    const place = new Place()
    const { code, stdout, stderr } = await place.run(t, ['sizes', '--out', place.out, '--repeat', '2', ...SHORT])
    assert.equal(code, 0, stderr)
    assert.deepEqual(readdirSync(place.out).sort(), [
      'plan.json',
      'report.html',
      'results.csv',
      'results.json',
      'sizes.svg',
    ])
    assert.match(place.text('sizes.svg'), /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" .*Plot of sizes/s)
    assert.match(stdout, /The fake "sizes" <&>\n\nsize +rate \(k\/s\)\n1 +1\n2 +2\n3 +3\n\nThe best is 3 k\/s\.\n/)
    assert.match(stdout, /The report is .*report\.html; the results are .*results\.json/)
    assert.match(stderr, /This takes about 6 s; the results go to /)
    assert.match(stderr, /6\/6 runs, all done/)
    const { plan, runs } = await place.results()
    assert.equal(plan.seed, 3)
    assert.deepEqual(
      runs.map(({ cell, repetition, outcome }) => [cell, repetition, 'metrics' in outcome && outcome.metrics.seed]),
      steps(plan).map(({ cell, repetition, seed }) => [cell.key, repetition, seed]),
    )
    assert.match(place.text('report.html'), /^<!doctype html>[\s\S]*The best is 3 k\/s\.[\s\S]*<\/html>\n$/)
    assert.equal(place.text('results.csv').split('\r\n').length, 6 * 3 + 2)
  })

  test('tells what could not be measured; a failure is exit code 1, and what this machine cannot is none', async (t) => {
    const place = new Place()
    const both = await place.run(t, ['faults', '--out', place.out, '--repeat', '2', ...SHORT])
    assert.equal(both.code, 1)
    assert.match(both.stderr, /faults how=throw failed: the fake was told to throw/)
    assert.match(both.stdout, /Not measured:\n/)
    assert.match(both.stdout, / {2}faults how=throw: the fake was told to throw \(2 times\)/)
    assert.match(both.stdout, / {2}faults how=impossible: the fake needs another machine \(2 times\)/)
    assert.equal((await place.results()).runs.length, 6)
    const able = await place.run(t, [
      'faults',
      '--only',
      'how=impossible,well',
      '--out',
      join(place.folder, 'able'),
      ...SHORT,
    ])
    assert.equal(able.code, 0, able.stderr)
  })

  test('goes on after it was killed between two cells, without losing or repeating one that was finished', async (t) => {
    const place = new Place()
    const args = ['gate', 'sizes', '--full', '--out', place.out, '--repeat', '2', '--seconds', '0.01']
    const killed = place.start(t, args)
    // The cell that waits for the gate is under way, and what came before it is saved.
    const waiting = await until('the waiting cell', () =>
      place.started().find((each) => each.parameters.includes('wait')),
    )
    const before = await place.results()
    assert.equal((await killed.end('SIGKILL')).signal, 'SIGKILL')
    assert.deepEqual((await place.results()).runs, before.runs)
    await until('the end of the cell that nobody waits for', () => !isRunning(waiting.pid))
    writeFileSync(place.gate, '')
    const { code, stderr } = await place.run(t, args)
    assert.equal(code, 0, stderr)
    assert.match(stderr, /goes on/)
    const { plan, runs } = await place.results()
    assert.equal(plan.seed, before.plan.seed)
    assert.deepEqual(runs.slice(0, before.runs.length), before.runs)
    const all = steps(plan)
    assert.deepEqual(
      runs.map(({ cell, repetition }) => `${cell} ${repetition}`),
      all.map(({ cell, repetition }) => `${cell.key} ${repetition}`),
    )
    // Only the one under way was started twice.
    assert.equal(place.started().length, all.length + 1)
    const again = await place.run(t, args)
    assert.equal(again.code, 0, again.stderr)
    assert.equal(place.started().length, all.length + 1)
  })

  test('ends at Ctrl-C with what is finished saved, and without the cell that was under way', async (t) => {
    const place = new Place()
    const args = ['gate', '--out', place.out, ...SHORT]
    const command = place.start(t, args)
    const waiting = await until('the waiting cell', () =>
      place.started().find((each) => each.parameters.includes('wait')),
    )
    const { code, stderr, stdout } = await command.end('SIGINT')
    assert.equal(code, 130, stderr)
    assert.equal(isRunning(waiting.pid), false)
    assert.equal(stdout, '')
    assert.match(stderr, /Broken off\. \d runs are saved: the same command with --out .*out goes on\./)
    assert.deepEqual(readdirSync(place.out).sort(), ['plan.json', 'results.json'])
    writeFileSync(place.gate, '')
    const { code: last } = await place.run(t, args)
    assert.equal(last, 0)
    assert.equal((await place.results()).runs.length, 6)
  })

  test('runs a saved plan again: the same cells in the same order with the same seeds', async (t) => {
    const place = new Place()
    await place.run(t, ['sizes', '--only', 'size=1,3', '--out', place.out, '--repeat', '2', '--seconds', '0.01'])
    const first = await place.results()
    for (const name of ['plan.json', 'results.json']) {
      const other = new Place()
      const { code, stderr } = await other.run(t, ['--plan', join(place.out, name), '--out', other.out])
      assert.equal(code, 0, stderr)
      const second = await other.results()
      assert.deepEqual(second.plan, first.plan)
      const kept = ({ runs }: Results) => runs.map(({ cell, repetition, outcome }) => [cell, repetition, outcome])
      assert.deepEqual(kept(second), kept(first))
    }
  })

  test('makes a folder for each measurement where none is given', async (t) => {
    const place = new Place()
    const { code, stderr } = await place.run(t, ['sizes', '--only', 'size=1', '--repeat', '1', ...SHORT])
    assert.equal(code, 0, stderr)
    const [folder, ...others] = readdirSync(join(place.folder, 'damselfly-lab'))
    assert.match(folder!, /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d$/)
    assert.deepEqual(others, [])
  })

  test('measures into a folder only once at a time', async (t) => {
    const place = new Place()
    const args = ['gate', '--out', place.out, ...SHORT]
    const first = place.start(t, args)
    await until('its first cell', () => place.started().length > 0)
    const second = await place.run(t, args)
    assert.equal(second.code, 1)
    assert.match(second.stderr, new RegExp(`process ${first.pid} measures into this folder`))
    writeFileSync(place.gate, '')
    const { code, stderr } = await first.ended
    assert.equal(code, 0, stderr)
  })
})

// The laboratory as a function: lab-program.ts makes a line of an error's name and message, and exit code 1.
describe('damselfly lab refuses, in a sentence and without touching a file:', () => {
  async function measured(t: TestContext): Promise<Place> {
    const place = new Place()
    const { code, stderr } = await place.run(t, [
      'sizes',
      '--only',
      'size=1',
      '--repeat',
      '1',
      '--out',
      place.out,
      ...SHORT,
    ])
    assert.equal(code, 0, stderr)
    return place
  }

  async function refused(t: TestContext, place: Place, args: readonly string[], sentence: RegExp): Promise<void> {
    const files = () =>
      existsSync(place.out) ? readdirSync(place.out).map((name) => [name, place.text(name)]) : undefined
    const before = files()
    const printed = [
      t.mock.method(console, 'log', () => {}),
      t.mock.method(console, 'error', () => {}),
      t.mock.method(process.stderr, 'write', () => true),
    ]
    await assert.rejects(lab(args, FAKE_LABORATORY), ({ name, message }: Error) => {
      assert.match(`${name}: ${message}`, sentence)
      assert.equal(message.split('\n').length, 1)
      return true
    })
    for (const { mock } of printed) {
      assert.equal(mock.callCount(), 0)
      mock.restore()
    }
    assert.deepEqual(files(), before)
  }

  test('a results file that is cut off, of another version, or of another plan', async (t) => {
    const place = await measured(t)
    const path = join(place.out, 'results.json')
    const text = place.text('results.json')
    const args = ['sizes', '--only', 'size=1', '--repeat', '1', '--out', place.out, ...SHORT]
    await refused(t, place, ['sizes', '--out', place.out, ...SHORT], /the measurement in .* has repetitions = 1, not 3/)
    writeFileSync(path, text.slice(0, -20))
    await refused(t, place, args, /results\.json is cut off, or is no JSON\. It was left as it is/)
    writeFileSync(path, text.replace('"version":1', '"version":9'))
    await refused(t, place, args, /is of version 9; this damselfly reads version 1/)
    writeFileSync(path, text.replace(/"model":"[^"]*"/, '"model":"Another"'))
    await refused(t, place, args, /is of another machine: model was Another, and here it is/)
    rmSync(path)
    await refused(t, place, args, /plan\.json is there without results\.json\. It was left as it is/)
    for (const name of ['plan.json', 'report.html', 'results.csv']) rmSync(join(place.out, name))
    await refused(t, place, args, /sizes\.svg is there without results\.json\. It was left as it is/)
  })

  test('a report that would replace another file', async (t) => {
    const place = new Place()
    const report = join(place.folder, 'letter.html')
    writeFileSync(report, '<p>Dear all')
    await refused(
      t,
      place,
      ['sizes', '--out', place.out, '--report', report],
      /letter\.html is no report of the laboratory/,
    )
    assert.equal(readFileSync(report, 'utf8'), '<p>Dear all')
    assert.equal(existsSync(place.out), false)
  })

  const wrong: [string, readonly string[], RegExp][] = [
    [
      'an unknown experiment',
      ['sices'],
      /UsageError: there is no experiment "sices": there are sizes, gate, faults, empty/,
    ],
    ['an experiment without a cell', ['empty'], /KernelError: the sweep of "empty" has no cell/],
    ['a restriction to nothing', ['sizes', '--only', 'size=9'], /KernelError: no cell has size = 9: there are 1, 2, 3/],
    ['a restriction of no form', ['sizes', '--only', 'size'], /UsageError: --only is "size": give a parameter and/],
    ['no repetition', ['sizes', '--repeat', '0'], /UsageError: --repeat is "0": give a whole number from 1 to 1000/],
    ['no time', ['sizes', '--seconds', '0'], /UsageError: --seconds is "0": give a number from 0\.01 to 3600/],
    ['a seed that is none', ['sizes', '--seed', 'x'], /UsageError: --seed is "x": give a whole number from 0 to/],
    ['a plan that is not there', ['--plan', 'nothing.json'], /KernelError: there is no plan nothing\.json/],
    ['a plan and more', ['--plan', 'p', '--full'], /UsageError: --full cannot be given with --plan/],
    ['a plan and experiments', ['--plan', 'p', 'sizes'], /UsageError: experiments cannot be given with --plan/],
    ['an empty path', ['sizes', '--report', ''], /UsageError: --report is empty: give a path/],
  ]
  for (const [name, args, sentence] of wrong) {
    test(name, (t) => {
      const place = new Place()
      return refused(t, place, [...args, '--out', place.out], sentence)
    })
  }

  test('a plan of cells that are not known here', async (t) => {
    const place = await measured(t)
    const plan = place.text('plan.json')
    const other = new Place()
    const path = join(other.folder, 'plan.json')
    writeFileSync(path, plan.replace('"fake"', '"other"'))
    await refused(t, other, ['--plan', path, '--out', other.out], /there is no workload "other"/)
    writeFileSync(path, plan.replace('"sizes"', '"prices"'))
    await refused(
      t,
      other,
      ['--plan', path, '--out', other.out],
      /the plan has an experiment "prices", and there are sizes/,
    )
  })
})

test('the command lists its experiments, and an unknown one is exit code 2 with the usage', async (t) => {
  const place = new Place()
  const list = await place.start(t, ['lab', '--list'], MAIN).ended
  assert.equal(list.code, 0, list.stderr)
  assert.match(list.stdout, /^experiment +question +cells +with --full\n(\w+ .*\n)*messages +/)
  const { code, stdout, stderr } = await place.start(t, ['lab', 'nothing'], MAIN).ended
  assert.equal(code, 2)
  assert.equal(stdout, '')
  assert.match(stderr, /^damselfly: there is no experiment "nothing": there are .*messages/)
  assert.match(stderr, /lab: all experiments, or those that are named/)
  assert.deepEqual(readdirSync(place.folder), [])
})

test('the laboratory’s own experiment measures messages between two CPUs', async (t) => {
  const place = new Place()
  const args = ['lab', 'messages', '--only', 'batch=256', '--repeat', '1', '--seconds', '0.2', '--out', place.out]
  const { code, stderr } = await place.start(t, args, MAIN).ended
  assert.equal(code, 0, stderr)
  const { runs } = await place.results()
  assert.deepEqual(runs.map(({ cell }) => cell).sort(), ['way=call batch=256', 'way=one-way batch=256'])
  for (const { outcome } of runs) {
    if ('impossible' in outcome) continue
    assert.ok('metrics' in outcome)
    assert.ok(outcome.metrics.rate! > 0)
    // What is sent in one turn is published at once, or by sixteens.
    assert.ok(outcome.metrics.publishes! < 1)
  }
})

test('npm start runs the laboratory, and what CI has it do ends well, with a report', async (t) => {
  const root = fileURLToPath(new URL('../../../', import.meta.url))
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { start: string } }
  const [, start] = /dist\/src\/cli\/main\.js (.*)$/.exec(scripts.start)!
  const [, more] = /^npm start -- (.*) --out "\$results"$/m.exec(readFileSync(join(root, '.ci/run'), 'utf8'))!
  assert.equal(start, 'lab')
  const place = new Place()
  // CI itself measures for as long as it says.
  const args = more!.replace(/--seconds \S+/, '--seconds 0.05').split(' ')
  const { code, stderr } = await place.start(t, [start, ...args, '--out', place.out], MAIN).ended
  assert.equal(code, 0, stderr)
  assert.match(place.text('report.html'), /<svg/)
})
