import assert from 'node:assert/strict'
import { test } from 'node:test'
import { missingPackages, missingText, needPackages, PROMETHEUS_PACKAGES, REPORT_PACKAGES } from './optional.ts'

test('packages that are not installed are named, with how to get them', () => {
  const resolve = (name: string) => {
    if (name !== 'there')
      throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' })
  }
  assert.deepEqual(missingPackages(['a', 'there', 'b'], resolve), ['a', 'b'])
  assert.equal(missingText('The report', ['a', 'b']), 'The report needs the optional packages a and b: npm install a b')
  assert.equal(missingText('The report', ['a']), 'The report needs the optional package a: npm install a')
  assert.equal(missingText('The report', []), undefined)
  assert.throws(() => needPackages('It', ['no-such-package-of-anybody']), {
    name: 'KernelError',
    code: 'ENODEV',
    message: 'It needs the optional package no-such-package-of-anybody: npm install no-such-package-of-anybody',
  })
})

test('a package that cannot be looked up for another reason is not said to be missing', () => {
  const broken = () => {
    throw new Error('its package.json is broken')
  }
  assert.throws(() => missingPackages(['a'], broken), /its package.json is broken/)
})

test('those of this package are all found where it is developed', () => {
  assert.deepEqual(missingPackages([...REPORT_PACKAGES, ...PROMETHEUS_PACKAGES]), [])
})
