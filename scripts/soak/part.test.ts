// A part of a soak as its process, for a round or two: on two CPUs of real threads, and with a leak that its rest must find.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Reading } from './measure.ts'
import type { PartMessage, PartOptions } from './part.ts'

const PROGRAM = fileURLToPath(new URL('./network-program.js', import.meta.url))
/** It is stopped long before. */
const MINUTES = 10

/** What a part has told until its end, which it is asked for behind its first reading. */
async function runPart(
  options: Omit<PartOptions, 'minutes' | 'seed'>,
): Promise<{ readings: Reading[]; errors: string[]; code: number }> {
  const given: PartOptions = { ...options, minutes: MINUTES, seed: 11 }
  const child = fork(PROGRAM, [JSON.stringify(given)], { execArgv: ['--expose-gc'], stdio: 'inherit' })
  const readings: Reading[] = []
  const errors: string[] = []
  child.on('message', (message: PartMessage) => {
    if ('error' in message) errors.push(message.error)
    if (!('reading' in message)) return
    readings.push(message.reading)
    if (child.connected) child.send('stop')
  })
  const [code] = (await once(child, 'exit')) as [number]
  return { readings, errors, code }
}

test('a part reads each of its CPUs, and all counts add up when it comes to rest', async () => {
  const { readings, errors, code } = await runPart({ cpus: 2, leak: undefined })
  assert.deepEqual([errors, code], [[], 0])
  // Two that own connections, and the one of Node's programs.
  assert.equal(readings[0]?.cpus.length, 3)
})

test('a part finds that a CPU has not given back what it had', async () => {
  const { errors } = await runPart({ cpus: 2, leak: 'port' })
  assert.match(errors.join(), /at rest it has other ports and threads than before: .*cpu 1: 2[34] ports/)
})
