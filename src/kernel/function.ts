// Functions that one CPU asks another to run. They are code, registered by name when their module is loaded, under a
// number that is the hash of the name: every CPU computes the same number, whatever it loaded first.
import { assert } from '../base/assert.ts'
import { hashName } from '../base/hash.ts'
import type { Cpu } from './cpu.ts'

/** Runs on `cpu` to its end: it does not block. What the three numbers mean is the function's own affair. */
export type RemoteFunction = (cpu: Cpu, a: number, b: number, c: number, source: number) => void

/** The number of a registered function: 1 to 65535, so that it fits a message's `onAbort`. */
export type FunctionId = number & { readonly functionId?: never }

const table: (RemoteFunction | undefined)[] = new Array(65536).fill(undefined)
const names = new Map<FunctionId, string>()

/**
 * Registers `run` under `name`. Called at module level, once for each name.
 * @throws AssertionFailure where two names have the same number, which one of them must then change
 */
export function define(name: string, run: RemoteFunction): FunctionId {
  const id = hashName(name) & 0xffff || 1
  assert(table[id] === undefined, 'two functions have the same number: rename the one that was added last')
  table[id] = run
  names.set(id, name)
  return id
}

/** What a function was registered as, for whoever reads a trace; its number where this thread does not know it. */
export function functionName(id: FunctionId): string {
  return names.get(id) ?? `function ${id}`
}

/** @throws AssertionFailure where the CPU's thread has not loaded the module that defines it */
export function functionOf(id: FunctionId): RemoteFunction {
  const run = table[id]
  assert(run !== undefined, 'no function has this number here: is the module that defines it loaded on every CPU?')
  return run
}
