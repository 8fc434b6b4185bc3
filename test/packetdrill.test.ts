// The stack's own packetdrill scripts: they pass, and each of them can fail. By hand: npm run packetdrill -- --verbose
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { listScripts } from '../scripts/packetdrill/folder.ts'
import { runScript } from '../scripts/packetdrill/run.ts'

/** The sources are a folder beside the compiled tests. */
const FOLDER = fileURLToPath(new URL('../../test/packetdrill/scripts', import.meta.url))
const scripts = listScripts(FOLDER).map(({ path, name }) => ({ name, text: readFileSync(path, 'utf8') }))
const areas = [...new Set(scripts.map(({ name }) => name.split('/')[0]!))]

/** A line that says what must happen, so that something else must: undefined where it says nothing of the kind. */
function changed(line: string): string | undefined {
  if (line.startsWith('//')) return undefined
  if (line.includes('assert')) return line.replace(/assert (.*) \}%/, 'assert not ($1) }%')
  if (/\) = -1 E/.test(line)) return line.replace(/= -1 E\w+/, '= -1 EIO')
  if (/ > .* ack \d/.test(line)) return line.replace(/ ack (\d+)/, (_, ack: string) => ` ack ${Number(ack) + 1}`)
  if (/ > .*R \d/.test(line))
    return line.replace(/ R (\d+):(\d+)/, (_, a: string, b: string) => ` R ${Number(a) + 1}:${Number(b) + 1}`)
  if (/ > .*icmp/.test(line))
    return line.replace(/echo_reply|port_unreachable/, (name) => (name === 'echo_reply' ? 'redirect' : 'net_unknown'))
  if (/ > .*udp/.test(line)) return line.replace(/\((\d+)\)$/, (_, length: string) => `(${Number(length) + 1})`)
  if (/(read|recv\w*|write|send|poll|ioctl)\(.*\) = \d/.test(line))
    return line.replace(/= (\d+)$/, (_, n: string) => `= ${Number(n) + 1}`)
  return undefined
}

describe('packetdrill scripts', () => {
  for (const area of areas) {
    test(`of ${area} pass`, () => {
      for (const { name, text } of scripts.filter((script) => script.name.startsWith(`${area}/`))) {
        const { kind, line, reason } = runScript(text)
        assert.equal(kind, 'pass', `${name}:${line}: ${reason}`)
      }
    })
  }

  test('begin with a comment that says what they are about', () => {
    const silent = scripts.filter(({ text }) => !/^\/\/ \S+.*\S/.test(text)).map(({ name }) => name)
    assert.deepEqual(silent, [])
  })

  test('fail when the last thing that must happen is another', () => {
    for (const { name, text } of scripts) {
      const lines = text.split('\n')
      const last = lines.findLastIndex((line) => changed(line) !== undefined)
      assert.notEqual(last, -1, `${name} says what must happen`)
      lines[last] = changed(lines[last]!)!
      const { kind } = runScript(lines.join('\n'))
      assert.equal(kind, 'fail', `${name} must fail with: ${lines[last]}`)
    }
  })
})
