import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { Random } from '../base/random.ts'
import { Memory } from './memory.ts'
import { Names } from './name.ts'

/** Two views of one directory, as two CPUs have them. */
function directory(): [Names, Names] {
  const memory = Memory.create({ cpus: 1, memoryBytes: 4 * 1024 * 1024 }, true)
  return [new Names(memory), new Names(memory)]
}

const refuses = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof KernelError && error.code === code && pattern.test(error.message)

describe('name', () => {
  test('names agree with a map: added, found, listed and withdrawn, from either CPU', () => {
    const views = directory()
    const random = new Random(1)
    const model = new Map<string, number>()
    for (let op = 0; op < 3000; op++) {
      const names = views[random.below(2)]!
      const name = `port ${random.below(60)}`
      if (random.chance(0.4)) {
        if (model.has(name)) assert.throws(() => names.add(name, 1), refuses('EEXIST', /choose another name/))
        else {
          names.add(name, op + 1)
          model.set(name, op + 1)
        }
      } else if (random.chance(0.5)) {
        names.remove(name)
        model.delete(name)
      }
      assert.equal(names.find(name), model.get(name) ?? 0)
    }
    const listed = views[0].list().map(({ name, value }) => [name, value] as const)
    assert.deepEqual(new Map(listed), model)
  })

  test('a name has 1 to 52 bytes of any text', () => {
    const [names, other] = directory()
    names.add('€'.repeat(17), 5)
    assert.equal(other.find('€'.repeat(17)), 5)
    assert.deepEqual(other.list(), [{ name: '€'.repeat(17), value: 5 }])
    assert.throws(() => names.add('', 1), refuses('EINVAL', /has 0 bytes: give 1 to 52/))
    assert.throws(() => names.add('€'.repeat(18), 1), refuses('EINVAL', /has 54 bytes/))
  })

  test('the directory is bounded, and says so', () => {
    const [names] = directory()
    for (let i = 0; i < Limits.names; i++) names.add(`port ${i}`, i + 1)
    assert.throws(() => names.add('one more', 1), refuses('ENFILE', /no room for "one more"/))
    for (let i = 0; i < Limits.names; i++) assert.equal(names.find(`port ${i}`), i + 1)
    assert.equal(names.find('one more'), 0)
    names.remove('port 7')
    names.add('port 7', 99)
    assert.equal(names.find('port 7'), 99)
  })
})
