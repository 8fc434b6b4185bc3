import assert from 'node:assert/strict'
import { test } from 'node:test'
import { minimise } from './minimise.ts'

const text = (string: string) => new TextEncoder().encode(string)

test('what fails is left with the inputs and the bytes that make it fail', async () => {
  const inputs = ['nothing', 'an apple and more', 'nothing', 'here a pear is', 'and so on'].map(text)
  const read = (all: readonly Uint8Array[]) => all.map((each) => new TextDecoder().decode(each))
  const fails = async (all: readonly Uint8Array[]) => {
    const texts = read(all)
    const first = texts.findIndex((each) => each.includes('apple'))
    return first >= 0 && texts.slice(first).some((each) => each.includes('pear'))
  }
  assert.deepEqual(read(await minimise(inputs, fails)), ['apple', 'pear'])
})

test('it ends after so many tries with something that fails', async () => {
  let tries = 0
  const fails = async (all: readonly Uint8Array[]) => {
    tries++
    return all.length > 0 && all[0]!.length >= 100
  }
  const [left] = await minimise([new Uint8Array(1000)], fails, 5)
  assert.equal(tries, 5)
  assert(left!.length >= 100 && left!.length < 1000)
})
