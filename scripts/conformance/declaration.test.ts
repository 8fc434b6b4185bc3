import assert from 'node:assert/strict'
import { test } from 'node:test'
import { declarationAt } from './declaration.ts'

/** The name at the line with the mark `@`. */
function at(text: string): string | undefined {
  const lines = text.split('\n')
  const index = lines.findIndex((line) => line.includes('@'))
  return declarationAt(lines, index, index)
}

test('a comment in a function has its name, however deep it stands', () => {
  assert.equal(at('export function input(a: number): void {\n  if (a) {\n    // @\n    f()\n  }\n}'), 'input')
  assert.equal(at('const input = (a: number) => {\n  f() // @\n}'), 'input')
  assert.equal(at('export function* run() {\n  f({\n    a: 1, // @\n  })\n}'), 'run')
})

test('a head that is broken into several lines is still the head', () => {
  assert.equal(at('function input(\n  a: number,\n): number {\n  return a // @\n}'), 'input')
  assert.equal(at('function input({\n  a,\n}: A): number {\n  // @\n  return a\n}'), 'input')
  assert.equal(at('class Window {\n  slide(\n    a: number,\n  ): void {\n    f() // @\n  }\n}'), 'Window.slide')
})

test('a comment in a method has the names of the class and of the method', () => {
  assert.equal(at('export class Window {\n  a = 1\n\n  slide(): void {\n    // @\n  }\n}'), 'Window.slide')
  assert.equal(at('class Window {\n  static async #slide<T>(): void {\n    // @\n  }\n}'), 'Window.#slide')
  assert.equal(at('class Window {\n  get size(): number {\n    return 1 // @\n  }\n}'), 'Window.size')
})

test('a comment directly before a declaration is about that', () => {
  assert.equal(at('const a = 1\n\n/** @ */\nexport function input(): void {}'), 'input')
  assert.equal(at('class Window {\n  a = 1\n\n  // @\n  // more\n  slide(): void {\n    f()\n  }\n}'), 'Window.slide')
  assert.equal(at('class Window {\n  // @\n  readonly size = 1\n}'), 'Window.size')
})

test('a comment in a table has the names of the table and of its line', () => {
  assert.equal(at('export const Header = struct({\n  checksum: be16, // @\n})'), 'Header.checksum')
  assert.equal(at('interface Options {\n  // @\n  window?: number\n}'), 'Options.window')
  assert.equal(at('const LIMIT = 3 // @'), 'LIMIT')
})

test('a comment that opens a file has no name, nor has one of a statement on top level', () => {
  assert.equal(at('// The receive side. @\n\nimport a from "a"\n\nconst b = 1'), undefined)
  assert.equal(at('function a() {\n  b()\n}\n\nf(() => {\n  g() // @\n})'), undefined)
})

test('a function before has nothing to do with it', () => {
  assert.equal(at('function a(): void {\n  b()\n}\n\nfunction c(): void {\n  d() // @\n}'), 'c')
})
