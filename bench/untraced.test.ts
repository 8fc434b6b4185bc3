import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { simulated } from './testing/simulated.ts'
import { untrace, untraceTree } from './untraced.ts'

const dist = fileURLToPath(new URL('../', import.meta.url))
/** Below the repository, where the packages are found that the stack imports. */
const tree = new URL('../../dist-untraced-test/', import.meta.url)

describe('the stack without tracing', () => {
  let bare = simulated
  before(async () => {
    const places = untraceTree(dist, fileURLToPath(tree))
    assert.ok(places > 40, `${places}`)
    const loaded = (await import(new URL('bench/testing/simulated.js', tree).href)) as { simulated: typeof simulated }
    bare = loaded.simulated
  })
  after(() => rmSync(tree, { recursive: true, force: true }))

  for (const [discipline, workload] of [
    ['connp-t', 'exchange'],
    ['connp-t', 'udp'],
    ['connp-l', 'short'],
  ] as const) {
    test(`does what the real one does, which does the same in each mode, and records nothing: ${workload} under ${discipline}`, () => {
      const [off, all, without] = [
        simulated(discipline, workload),
        simulated(discipline, workload, 'all'),
        bare(discipline, workload, 'all'),
      ]
      assert.ok(off.load.sent > 500, `${off.load.sent} packets`)
      assert.deepEqual(all.load, off.load)
      assert.deepEqual(without.load, off.load)
      assert.equal(all.hash, off.hash)
      assert.equal(without.hash, off.hash)
      const traced = ({ counted }: typeof off) => counted.filter((name) => name.startsWith('trace.'))
      assert.ok(traced(all).includes('trace.recorded'))
      assert.deepEqual(traced(off), [])
      assert.deepEqual(traced(without), [])
    })
  }
})

describe('what is taken out of a file', () => {
  const text = (source: string) => untrace(source).text

  test('is what asks whether the tracer is on, as if the answer were no', () => {
    assert.equal(text('if (this.#tracer.isSet) a(); b()'), '{} b()')
    assert.equal(text('if (!tracer.concerns(m)) a(); else b()'), 'a();')
    assert.equal(text('if (this.#tracer.concerns(m) && !x) a(); else c()'), 'c()')
    assert.equal(text('if (x) a(); else if (tracer.isSet && (tracer.on || y)) b(); else c()'), 'if (x) a(); else c()')
    assert.equal(text('if (!tracer.isSet || (!tracer.on && y)) a(); b()'), 'a(); b()')
    assert.equal(text('if (cpu.tracer.on) a()\nelse b()'), 'b()')
    assert.equal(text('if (!tracer.on) a()'), 'a()')
    assert.equal(text('if (t.cpu.tracer.on || p.traced !== 0) a(); b()'), '{} b()')
    assert.equal(text('if (!(tracer.on || socket.trace > 0)) a(); b()'), 'a(); b()')
    assert.equal(text('const x = (state & TRACED) !== 0; b()'), 'const x = false; b()')
    assert.equal(text('if (x && (words[m] & TRACED) === 0) b()'), 'if (x && true) b()')
    assert.equal(text('if (tracer.on && x) a(); b()'), '{} b()')
    assert.equal(text('f(this.#tracer.on ? this.forward : undefined)'), 'f((undefined))')
    assert.equal(text('if (t.traceMarks !== 0 && (t.traceMarks === TRACED || p.traced !== 0)) a(); b()'), '{} b()')
    assert.equal(text('if (t.traceMarks === TRACED || (p.flags & x) !== 0) a(); b()'), '{} b()')
    assert.equal(text('if (this.#traceMarks === 0 || x <= 0) a(); b()'), 'a(); b()')
    assert.equal(text('if (traceMarks !== 0) a(); b()'), '{} b()')
    assert.equal(text('const x = this.#traceMarks === 0 ? 0 : f(m)'), 'const x = (0)')
    assert.equal(text('s = f | this.#traceMarks'), 's = f | 0')
  })

  test('is the look at the mode, and the cause of what runs', () => {
    assert.equal(text('this.tracer.look(); a()'), '{} a()')
    assert.equal(text('tracer.current = p.trace; a()'), '{} a()')
  })

  test('is nothing else', () => {
    for (const source of [
      'if (this.#port.on) a()',
      'tracer.onSwitch(on)',
      'x = tracer.current',
      'if (!x.on) a()',
      'this.#traceMarks = marks',
      'if (x || y.on) a()',
    ]) {
      assert.equal(text(source), source)
    }
  })
})
