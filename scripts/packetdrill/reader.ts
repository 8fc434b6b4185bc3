// Takes tokens one by one: what the parts of the parser share (parser.ts, parse-packet.ts, parse-value.ts).
import { ScriptFailure, Unsupported } from './error.ts'
import type { Token, TokenKind } from './token.ts'

export class Reader {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  get next(): Token {
    return this.#tokens[this.#at]!
  }

  get line(): number {
    return this.next.line
  }

  /** The token behind the next. */
  get second(): Token {
    return this.#tokens[Math.min(this.#at + 1, this.#tokens.length - 1)]!
  }

  isSymbol(text: string): boolean {
    return this.next.kind === 'symbol' && this.next.text === text
  }

  isWord(text: string): boolean {
    return this.next.kind === 'word' && this.next.text === text
  }

  is(kind: TokenKind): boolean {
    return this.next.kind === kind
  }

  /** Takes the next token, whatever it is. */
  take(): Token {
    const token = this.next
    if (token.kind !== 'end') this.#at++
    return token
  }

  /** Takes the next token if it is this. */
  skipSymbol(text: string): boolean {
    if (!this.isSymbol(text)) return false
    this.#at++
    return true
  }

  skipWord(text: string): boolean {
    if (!this.isWord(text)) return false
    this.#at++
    return true
  }

  symbol(text: string): void {
    if (!this.skipSymbol(text)) this.fail(`${text} is expected`)
  }

  word(what: string): string {
    return this.#take('word', what)
  }

  integer(what: string, least: number, most: number): number {
    const { line } = this
    const value = Number(this.#take('integer', what))
    if (value < least || value > most) {
      throw new ScriptFailure(line, `${what} is ${value}: give a number from ${least} to ${most}`)
    }
    return value
  }

  fail(what: string): never {
    throw new ScriptFailure(this.line, `${what}, and not ${this.next.text}`)
  }

  /** @throws Unsupported */
  skipScript(what: string): never {
    throw new Unsupported(this.line, what)
  }

  #take(kind: TokenKind, what: string): string {
    if (this.next.kind !== kind) this.fail(`${what} is expected`)
    return this.take().text
  }
}
