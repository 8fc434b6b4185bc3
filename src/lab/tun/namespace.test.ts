import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { available, inNamespace } from './namespace.ts'

const skip = available()
const PROGRAM = fileURLToPath(new URL('./testing/namespaces.js', import.meta.url))

/** The namespaces that there are. */
function names(): string[] {
  const printed = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  return printed.split('\n').map((line) => line.split(' ')[0]!)
}

for (const [how, args, end] of [
  ['by Ctrl-C', [], 'SIGINT'],
  ['by SIGTERM', [], 'SIGTERM'],
  ['by process.exit', ['--exit'], undefined],
] as const) {
  test(`a process that is ended ${how} leaves no namespace`, { skip: skip ?? false }, async () => {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    const [printed] = (await once(child.stdout, 'data')) as [Buffer]
    const made = printed.toString().trim().split(' ')
    assert.equal(made.length, 2)
    if (end !== undefined) {
      for (const name of made) assert(names().includes(name), `${name} was made`)
      child.kill(end)
    }
    const [code, signal] = (await ended) as [number | null, NodeJS.Signals | null]
    assert.equal(signal ?? code, end ?? 3)
    for (const name of made) assert(!names().includes(name), `${name} is left`)
  })
}

test('a namespace is removed when what was done in it has thrown', { skip: skip ?? false }, async () => {
  let name = ''
  const broken = inNamespace('thrown', (namespace) => {
    name = namespace.name
    throw new Error('broken')
  })
  await assert.rejects(broken, /broken/)
  assert(!names().includes(name))
})

test('where there is no ip(8) it says so, and makes nothing', () => {
  const { PATH } = process.env
  try {
    process.env.PATH = '/nowhere'
    assert.match(available() ?? '', /is not installed|Linux only|does not exist/)
  } finally {
    process.env.PATH = PATH
  }
})
