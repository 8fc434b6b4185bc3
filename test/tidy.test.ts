// The layout shows the architecture, and this keeps it so: a file imports only from its own layer and from those to
// its left. Tests may look everywhere.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

/** From left to right. Within `net` each folder is a layer of its own; what lies in `net` itself is what they share. */
const LAYERS = [
  'base',
  'kernel',
  'machine',
  'kernel.ts',
  'otel',
  'device',
  'net',
  'net/dispatch',
  'net/control',
  'net/ether',
  'net/ip',
  'net/hostcache',
  'net/icmp',
  'net/igmp',
  'net/udp',
  'net/tcp',
  'socket',
  'local.ts',
  'stack.ts',
  'node',
  'service',
  'metrics',
  'lab',
  'cli',
] as const

/** Tables of a wire format, and nothing else: any layer of the network may look at any header. */
const isHeader = (path: string) => /^net\/.*header\.ts$/.test(path)

const source = (() => {
  // The tests run as compiled files, two folders deeper than the sources that they look at.
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!readdirSync(folder).includes('package.json')) folder = dirname(folder)
  return folder
})()

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return files(path)
    return path.endsWith('.ts') ? [path] : []
  })
}

const isTest = (path: string) => path.endsWith('.test.ts') || path.includes('/testing/')

function layerOf(path: string): number {
  const parts = path.split('/')
  // Routes are part of what the network's layers share.
  const inNet = parts[0] === 'net' && parts.length > 2 && parts[1] !== 'route' ? `net/${parts[1]}` : parts[0]!
  return (LAYERS as readonly string[]).indexOf(inNet)
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => match[1]!)
}

const sources = files(join(source, 'src')).map((path) => {
  const name = relative(join(source, 'src'), path).split(sep).join('/')
  return { path, name, text: readFileSync(path, 'utf8') }
})

test('every source file belongs to a layer', () => {
  const lost = sources
    .filter(({ name }) => layerOf(name) < 0 && !isTest(name) && !name.endsWith('.d.ts'))
    .map(({ name }) => name)
  assert.deepEqual(lost, [])
})

test('a layer imports only from itself and from the layers to its left', () => {
  const wrong: string[] = []
  for (const { path, name, text } of sources) {
    if (isTest(name)) continue
    for (const specifier of importsOf(text)) {
      const target = relative(join(source, 'src'), join(dirname(path), specifier))
        .split(sep)
        .join('/')
      if (isHeader(target) && name.startsWith('net/')) continue
      if (layerOf(target) > layerOf(name)) wrong.push(`${name} imports ${target}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('the check finds an import against the order', () => {
  assert.ok(layerOf('net/ip/input.ts') > layerOf('net/ether/input.ts'))
  assert.deepEqual(importsOf("import type { A } from '../net/a.ts'\nimport './b.ts'\n"), ['../net/a.ts', './b.ts'])
})

test('no file is unfinished', () => {
  const marks = new RegExp(['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', '@ts-' + 'ignore'].join('|'))
  const marked = sources.filter(({ text }) => marks.test(text)).map(({ name }) => name)
  assert.deepEqual(marked, [])
})

test('nothing per CPU is a module variable: modules have no mutable bindings', () => {
  const mutable = sources
    .filter(({ name, text }) => !isTest(name) && /^(export )?let /m.test(text))
    .map(({ name }) => name)
  // A number that makes each generated class unique, and the operating system's library, which is code.
  assert.deepEqual(mutable.sort(), ['base/struct.ts', 'device/linux/library.ts'])
})

test('a file opens with what it is', () => {
  const silent = sources
    .filter(({ name, text }) => !isTest(name) && !/^(#!.*\n)?(\/\/|\/\*)/.test(text))
    .map(({ name }) => name)
  assert.deepEqual(silent, [])
})
