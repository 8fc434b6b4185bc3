// Records in the machine's memory. A record is declared once, as a table that can be held against the
// RFC's picture, and read through a cursor that is moved to an address and never stored.
//
// A cursor class is generated as source text, one for each record: its accessors then have type feedback
// of their own and cost what a typed array access costs (7 ns for twelve; closures over the offset share
// their feedback between all records and cost 20 times more once there are five of them).
import { assert } from './assert.ts'

/** A byte offset into the machine's memory. 0 is never the address of anything. */
export type Address = number

/** The views of one memory that cursors read through. All cover the same bytes. */
export interface Views {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly i32: Int32Array
  readonly u32: Uint32Array
  readonly f64: Float64Array
  readonly view: DataView
}

/** What a field is: its size, and the source text of its accessors. */
export interface Kind<Value> {
  readonly size: number
  readonly alignment: number
  /** Source text of the accessors; `$` stands for the field's address. Empty for fields that only have an offset. */
  readonly get: string
  readonly set: string
  /** Spelled `load()`/`store()` and never like a plain read, so that what costs a fence is seen to. */
  readonly atomic?: string
  readonly value?: Value
}

const host = (array: string, size: number, shift: number): Kind<number> => ({
  size,
  alignment: size,
  get: `this.${array}[($) >>> ${shift}]`,
  set: `this.${array}[($) >>> ${shift}] = value`,
})

/** Host-order fields, for the machine's own records. They must lie at a multiple of their size. */
export const u8 = host('u8', 1, 0)
export const u16 = host('u16', 2, 1)
export const u32 = host('u32', 4, 2)
export const i32 = host('i32', 4, 2)
export const f64 = host('f64', 8, 3)
/** Network-order fields, for wire headers. They may lie anywhere. */
export const be16: Kind<number> = {
  size: 2,
  alignment: 1,
  get: 'this.view.getUint16($)',
  set: 'this.view.setUint16($, value)',
}
export const be32: Kind<number> = {
  size: 4,
  alignment: 1,
  get: 'this.view.getUint32($)',
  set: 'this.view.setUint32($, value)',
}
/** `count` bytes that are read by their address (`record.offset.name + cursor.at`), not by value. */
export function bytes(count: number): Kind<Bytes> {
  assert(Number.isInteger(count) && count >= 0, 'a field of bytes has a whole number of them')
  return { size: count, alignment: 1, get: '$', set: '' }
}
/** A 32-bit word that several CPUs use: read by `cursor.name.load()`-like methods, see `AtomicAccess`. */
export const atomic: Kind<AtomicWord> = { size: 4, alignment: 4, get: '', set: '', atomic: 'this.i32, ($) >>> 2' }

export declare const bytesTag: unique symbol
export declare const atomicTag: unique symbol
export type Bytes = number & { readonly [bytesTag]: true }
export type AtomicWord = { readonly [atomicTag]: true }

// biome-ignore lint/suspicious/noExplicitAny: the one place where a record's field kinds meet
export type Fields = Record<string, Kind<any>>
type Value<K> = K extends Kind<infer V> ? V : never
type PlainNames<F extends Fields> = {
  [N in keyof F]: Value<F[N]> extends AtomicWord ? never : Value<F[N]> extends Bytes ? never : N
}[keyof F]
type ByteNames<F extends Fields> = { [N in keyof F]: Value<F[N]> extends Bytes ? N : never }[keyof F]
type AtomicNames<F extends Fields> = { [N in keyof F]: Value<F[N]> extends AtomicWord ? N : never }[keyof F] & string

/** For an `atomic` field `word`: `loadWord() storeWord(v) swapWord(v) casWord(expected, v) addWord(v)`. */
type AtomicAccess<N extends string> = { [K in N as `load${Capitalize<K>}`]: () => number } & {
  [K in N as `store${Capitalize<K>}`]: (value: number) => void
} & { [K in N as `swap${Capitalize<K>}`]: (value: number) => number } & {
  [K in N as `cas${Capitalize<K>}`]: (expected: number, value: number) => boolean
} & { [K in N as `add${Capitalize<K>}`]: (value: number) => number }

/** Moved by writing `at`; reading a field of `bytes` gives its address. */
export type Cursor<F extends Fields> = { at: Address } & { [N in PlainNames<F>]: number } & {
  readonly [N in ByteNames<F>]: Address
} & AtomicAccess<AtomicNames<F>>

export interface Struct<F extends Fields> {
  readonly size: number
  readonly offset: { readonly [N in keyof F]: number }
  readonly fields: F
  /** A new cursor over `memory`, at address 0. One per CPU and use; never one per packet. */
  cursor(memory: Views): Cursor<F>
}

/** What every cursor has besides its fields. */
const RESERVED: ReadonlySet<string> = new Set(['at', 'u8', 'u16', 'i32', 'u32', 'f64', 'view', 'constructor'])

let generated = 0

/**
 * Declares a record. Fields are laid out in the order given, without padding.
 * @throws AssertionFailure where a host-order field does not lie at a multiple of its size
 */
export function struct<F extends Fields>(fields: F): Struct<F> {
  const offset: Record<string, number> = {}
  let size = 0
  let body = ''
  for (const [name, kind] of Object.entries(fields)) {
    assert(/^[a-zA-Z][a-zA-Z0-9]*$/.test(name), 'a field is named by letters and digits')
    assert(!RESERVED.has(name), "a field's name is not one that every cursor has")
    assert(size % kind.alignment === 0, 'a host-order field lies at a multiple of its size: add padding before it')
    offset[name] = size
    const address = `this.at + ${size}`
    if (kind.atomic !== undefined) body += atomicAccessors(name, kind.atomic.replace('$', address))
    else {
      body += `get ${name}() { return ${kind.get.replace('$', address)} }\n`
      if (kind.set !== '') body += `set ${name}(value) { ${kind.set.replace('$', address)} }\n`
    }
    size += kind.size
  }
  // The number makes each text unique: equal texts would share one compiled function and its feedback.
  const source = `return class Cursor${++generated} {
    constructor(views) {
      this.at = 0
      this.u8 = views.u8; this.u16 = views.u16; this.i32 = views.i32
      this.u32 = views.u32; this.f64 = views.f64; this.view = views.view
    }
    ${body}
  }`
  const CursorClass = new Function(source)() as new (views: Views) => Cursor<F>
  return {
    size,
    offset: offset as { readonly [N in keyof F]: number },
    fields,
    cursor: (memory) => new CursorClass(memory),
  }
}

function atomicAccessors(name: string, place: string): string {
  const Name = name.charAt(0).toUpperCase() + name.slice(1)
  return `load${Name}() { return Atomics.load(${place}) }
    store${Name}(value) { Atomics.store(${place}, value) }
    swap${Name}(value) { return Atomics.exchange(${place}, value) }
    cas${Name}(expected, value) { return Atomics.compareExchange(${place}, expected, value) === expected }
    add${Name}(value) { return Atomics.add(${place}, value) }
  `
}
