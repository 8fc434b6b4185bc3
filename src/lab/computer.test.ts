import assert from 'node:assert/strict'
import { test } from 'node:test'
import { computerDifference, describeComputer, isBusy } from './computer.ts'

const here = describeComputer()

test('a machine is the same as itself, whatever its load and its memory are by now', () => {
  assert.equal(computerDifference(here, { ...here, load: 99, memoryBytes: 1 }), undefined)
})

test('a machine with other processors, another kernel or another Node is another one', () => {
  const other = { ...here, processors: here.processors + 1, node: 'v1.2.3' }
  assert.equal(
    computerDifference(here, other),
    `processors was ${here.processors}, and here it is ${here.processors + 1}`,
  )
  assert.equal(computerDifference(here, { ...here, node: 'v1.2.3' }), `node was ${here.node}, and here it is v1.2.3`)
})

test('a machine is busy when more than half of its processors are', () => {
  assert.equal(isBusy({ ...here, processors: 4, load: 2 }), false)
  assert.equal(isBusy({ ...here, processors: 4, load: 2.1 }), true)
})
