import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DARK, LIGHT, type Palette, STYLE } from './style.ts'

/** WCAG 2.2: relative luminance, and the contrast of two colours. */
function luminance(color: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(color.slice(at, at + 2), 16) / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
}

function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y)
  return (high! + 0.05) / (low! + 0.05)
}

for (const [name, palette] of [
  ['light', LIGHT],
  ['dark', DARK],
] as readonly [string, Palette][]) {
  describe(`the ${name} colours`, () => {
    test('show text with a contrast of 4.5 to 1 at least, on both grounds', () => {
      for (const color of ['text', 'faint', 'accent', 'warning']) {
        for (const ground of ['ground', 'raised']) {
          const found = contrast(palette[color]!, palette[ground]!)
          assert.ok(found >= 4.5, `${color} on ${ground}: ${found.toFixed(2)}`)
        }
      }
    })

    test('show each series with a contrast of 3 to 1 at least', () => {
      for (const [color, value] of Object.entries(palette).filter(([color]) => color.startsWith('series-'))) {
        const found = contrast(value, palette.ground!)
        assert.ok(found >= 3, `${color}: ${found.toFixed(2)}`)
      }
    })
  })
}

test('both forms have the same colours, and the style sheet uses no other', () => {
  assert.deepEqual(Object.keys(DARK), Object.keys(LIGHT))
  for (const [, name] of STYLE.matchAll(/var\(--([a-z0-9-]+)\)/g)) assert.ok(name! in LIGHT, name)
  assert.equal((STYLE.match(/#[0-9a-f]{3,8}\b/gi) ?? []).length, 2 * Object.keys(LIGHT).length)
})
