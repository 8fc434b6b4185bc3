// An expression of Python over numbers: what an assertion is made of (assertion.ts). True is 1, False is 0.
//
//     or · and · not · == != < <= > >= (chains: 1 < a < 3) · | · ^ · & · << >> · + - · * / // % · - ~ · ( ) abs min max int
import { ScriptFailure, Unsupported } from './error.ts'
import { lookUp } from './table.ts'

const TOKEN =
  /\s*(?:(0x[0-9A-Fa-f]+|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_]\w*)|(<<|>>|<=|>=|==|!=|\/\/|[-+*/%()<>|&^~,]))/y

type Operation = (left: number, right: number) => number

/** From the loosest to the tightest; comparisons, which make chains, come before these. */
const BINARY: readonly { readonly [operator: string]: Operation }[] = [
  { '|': (a, b) => a | b },
  { '^': (a, b) => a ^ b },
  { '&': (a, b) => a & b },
  { '<<': (a, b) => a * 2 ** b, '>>': (a, b) => Math.floor(a / 2 ** b) },
  { '+': (a, b) => a + b, '-': (a, b) => a - b },
  {
    '*': (a, b) => a * b,
    '/': (a, b) => a / b,
    '//': (a, b) => Math.floor(a / b),
    '%': (a, b) => a - b * Math.floor(a / b),
  },
]

const COMPARISONS: { readonly [operator: string]: (left: number, right: number) => boolean } = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
}

const FUNCTIONS: { readonly [name: string]: (...numbers: number[]) => number } = {
  abs: Math.abs,
  min: Math.min,
  max: Math.max,
  int: Math.trunc,
}

const CONSTANTS: { readonly [name: string]: number } = { True: 1, False: 0 }

/** How deep parentheses may be. */
const DEPTH_MAX = 100

export class Expression {
  readonly #tokens: string[]
  readonly #line: number
  readonly #lookup: (name: string) => number
  #at = 0
  #depth = 0

  /** @throws Unsupported where `text` has something that is not in the list above */
  constructor(text: string, line: number, lookup: (name: string) => number) {
    this.#line = line
    this.#lookup = lookup
    this.#tokens = tokens(text, line)
  }

  /** @throws ScriptFailure where it is no expression; what `lookup` throws */
  evaluate(): number {
    const value = this.#or()
    if (this.#at < this.#tokens.length) this.#fail()
    return value
  }

  #or(): number {
    let value = this.#and()
    while (this.#skip('or')) {
      const right = this.#and()
      value = value !== 0 ? value : right
    }
    return value
  }

  #and(): number {
    let value = this.#not()
    while (this.#skip('and')) {
      const right = this.#not()
      value = value === 0 ? value : right
    }
    return value
  }

  #not(): number {
    if (this.#skip('not')) return this.#not() === 0 ? 1 : 0
    let left = this.#binary(0)
    let holds: boolean | undefined
    for (let compare = this.#operation(COMPARISONS); compare !== undefined; compare = this.#operation(COMPARISONS)) {
      const right = this.#binary(0)
      holds = (holds ?? true) && compare(left, right)
      left = right
    }
    return holds === undefined ? left : Number(holds)
  }

  #binary(level: number): number {
    const operations = BINARY[level]
    if (operations === undefined) return this.#unary()
    let value = this.#binary(level + 1)
    for (let operate = this.#operation(operations); operate !== undefined; operate = this.#operation(operations)) {
      value = operate(value, this.#binary(level + 1))
    }
    return value
  }

  #unary(): number {
    if (this.#skip('-')) return -this.#unary()
    if (this.#skip('+')) return this.#unary()
    if (this.#skip('~')) return ~this.#unary()
    return this.#primary()
  }

  #primary(): number {
    const token = this.#tokens[this.#at++]
    if (token === '(') return this.#within(() => this.#or())
    if (token === undefined || !/^[\w.]/.test(token)) return this.#fail()
    if (/^[\d.]/.test(token)) return Number(token)
    if (this.#skip('(')) return this.#call(token)
    return lookUp(CONSTANTS, token) ?? this.#lookup(token)
  }

  #call(name: string): number {
    const call = lookUp(FUNCTIONS, name)
    if (call === undefined) throw new Unsupported(this.#line, `the function ${name} is not supported`)
    return this.#within(() => {
      const numbers = [this.#or()]
      while (this.#skip(',')) numbers.push(this.#or())
      return call(...numbers)
    })
  }

  #within(inner: () => number): number {
    if (++this.#depth > DEPTH_MAX) this.#fail()
    const value = inner()
    if (!this.#skip(')')) this.#fail()
    this.#depth--
    return value
  }

  #operation<T>(operations: { readonly [operator: string]: T }): T | undefined {
    const token = this.#tokens[this.#at]
    const operation = token === undefined ? undefined : lookUp(operations, token)
    if (operation !== undefined) this.#at++
    return operation
  }

  #skip(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false
    this.#at++
    return true
  }

  #fail(): never {
    throw new ScriptFailure(this.#line, `this is no expression: ${this.#tokens.join(' ')}`)
  }
}

function tokens(text: string, line: number): string[] {
  const all: string[] = []
  const body = text.trimEnd()
  for (let at = 0; at < body.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at
    const match = TOKEN.exec(body)
    if (match === null) throw new Unsupported(line, `this is not supported in an assertion: ${body.slice(at).trim()}`)
    all.push((match[1] ?? match[2] ?? match[3])!)
  }
  return all
}
