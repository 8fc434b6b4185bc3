import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno, KernelError } from '../../base/errno.ts'
import { type Libc, libc, libcUnavailable, loadLibc } from './library.ts'

const skip = libcUnavailable()
const O_RDONLY = 0

test('without koffi the error says how to get it', () => {
  const load = () => {
    throw Object.assign(new Error("Cannot find module 'koffi'"), { code: 'MODULE_NOT_FOUND' })
  }
  assert.throws(
    () => loadLibc({ load, platform: 'linux', architecture: 'x64' }),
    (error: unknown) => {
      assert(error instanceof KernelError)
      assert.equal(error.code, 'ENODEV')
      assert.equal(error.message, 'TUN devices need the optional package koffi: npm install koffi')
      assert(error.cause instanceof Error)
      return true
    },
  )
})

test('a koffi that does not load is not said to be missing', () => {
  const load = () => {
    throw new Error('invalid ELF header')
  }
  assert.throws(() => loadLibc({ load, platform: 'linux', architecture: 'x64' }), {
    code: 'ENODEV',
    message: /does not load here \(invalid ELF header\)/,
  })
})

test('elsewhere than on Linux koffi is not even loaded', () => {
  const load = () => assert.fail('koffi was loaded')
  for (const [platform, architecture] of [
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['linux', 'mips'],
  ] as const) {
    assert.throws(() => loadLibc({ load, platform, architecture }), { code: 'EOPNOTSUPP', message: /need Linux/ })
  }
})

test('the functions are loaded once for each thread', { skip }, () => {
  assert.equal(libc(), libc())
})

test('a call that fails answers with its errno, negative', { skip }, () => {
  const system = libc()
  const bytes = new Uint8Array(8)
  assert.equal(system.open('/nonexistent', O_RDONLY), -Errno.ENOENT)
  assert.equal(system.close(-1), -9)
  assert.equal(system.read(-1, system.pointer(bytes), 8), -9)
  assert.equal(system.declare('int dup(int)')(-1), -9)
})

test('a read puts bytes at an offset of shared memory, and not beside it', { skip }, () => {
  const system = libc()
  const bytes = sharedBytes()
  bytes.fill(0xee, 0, 32)
  const zero = system.open('/dev/zero', O_RDONLY)
  assert(zero >= 0)
  assert.equal(system.read(zero, system.pointer(bytes) + 8, 16), 16)
  assert.deepEqual([...bytes.subarray(7, 9), ...bytes.subarray(23, 25)], [0xee, 0, 0, 0xee])
  assert.equal(system.close(zero), 0)
})

test('a packet in two pieces is written as one and read as two', { skip }, () => {
  const system = libc()
  const bytes = sharedBytes()
  const { read, write } = pipe(system, bytes)
  const base = system.pointer(bytes)
  bytes.set([1, 2, 3], 256)
  bytes.set([4, 5], 512)
  setVectors(bytes, 64, [
    [base + 256, 3],
    [base + 512, 2],
  ])
  assert.equal(system.writev(write, base + 64, 2), 5)
  setVectors(bytes, 64, [
    [base + 768, 1],
    [base + 1024, 9],
  ])
  assert.equal(system.readv(read, base + 64, 2), 5)
  assert.deepEqual([bytes[768], ...bytes.subarray(1024, 1029)], [1, 2, 3, 4, 5, 0])
  system.close(read)
  system.close(write)
})

test('a small array has its pointer for as long as somebody holds it', { skip }, () => {
  const system = libc()
  const bytes = new Uint8Array(16)
  const pointer = system.pointer(bytes)
  const garbage: Uint8Array[] = []
  for (let index = 0; index < 100_000; index++) garbage[index % 100] = new Uint8Array(32)
  assert.equal(system.pointer(bytes), pointer)
})

function sharedBytes(): Uint8Array {
  return new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer)
}

function pipe(system: Libc, bytes: Uint8Array): { read: number; write: number } {
  assert.equal(system.declare('int pipe(uintptr_t)')(system.pointer(bytes)), 0)
  const [read = -1, write = -1] = new Int32Array(bytes.buffer, 0, 2)
  return { read, write }
}

function setVectors(bytes: Uint8Array, at: number, vectors: readonly (readonly [number, number])[]): void {
  const words = new BigUint64Array(bytes.buffer, at, vectors.length * 2)
  vectors.forEach(([pointer, length], index) => {
    words[index * 2] = BigInt(pointer)
    words[index * 2 + 1] = BigInt(length)
  })
}
