import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseHTML } from 'linkedom'
import { html, paragraphs } from './markup.ts'

test('what is put in is text, in an element as well as in an attribute, whatever it holds', () => {
  const anything = fc.oneof(
    fc.string(),
    fc.constantFrom('<script>', '"><img src=x>', "' onload='", '&amp;', '</title>', '<!--'),
  )
  fc.assert(
    fc.property(anything, anything, (inside, attribute) => {
      const { document } = parseHTML(
        `<!doctype html><html><body>${html`<p title="${attribute}">${inside}</p>`.text}</body></html>`,
      )
      assert.equal(document.body.children.length, 1)
      const [paragraph] = document.querySelectorAll('p')
      assert.equal(paragraph!.textContent, inside)
      assert.equal(paragraph!.getAttribute('title'), attribute)
      assert.equal(paragraph!.attributes.length, 1)
      assert.equal(paragraph!.children.length, 0)
    }),
    { seed: 1, numRuns: 300 },
  )
})

test('markup, numbers, lists and nothing go in as what they are', () => {
  assert.equal(
    html`<b>${html`<i>${1}</i>`}${[' a', [html`<u>b</u>`]]}${undefined}</b>`.text,
    '<b><i>1</i> a<u>b</u></b>',
  )
})

test('blank lines part paragraphs, and other line ends are spaces', () => {
  assert.deepEqual(
    paragraphs('one\n two\n\n \n<three>\n').map(({ text }) => text),
    ['<p>one two</p>', '<p>&lt;three&gt;</p>'],
  )
})
