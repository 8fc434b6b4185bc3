// The words of a packetdrill script. White space and comments (`//`, `/* */`, `#`) are between them.
import { ScriptFailure } from './error.ts'

export type TokenKind =
  /** `--name` or `--name=value`, as it stands */
  | 'option'
  | 'float'
  | 'integer'
  | 'hex'
  | 'word'
  /** What stands between the quotes. */
  | 'string'
  /** Between backquotes. */
  | 'command'
  /** Between %{ and }%. */
  | 'code'
  | 'ellipsis'
  | 'ipv4'
  /** One character that is none of these. */
  | 'symbol'
  | 'end'

export interface Token {
  readonly kind: TokenKind
  readonly text: string
  /** From 1. */
  readonly line: number
}

/** In the order in which they are tried: an address before a number, a number before a word. */
const PATTERNS: readonly (readonly [TokenKind | 'nothing', RegExp])[] = [
  ['nothing', /\s+|\/\/[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\//y],
  ['code', /%\{([\s\S]*?)\}%/y],
  ['command', /`((?:\\[\s\S]|[^`\\])*)`/y],
  ['string', /"((?:\\[\s\S]|[^"\\])*)"/y],
  ['ellipsis', /\.\.\./y],
  ['option', /--[A-Za-z0-9_]+(?:=(?:"[^"]*"|`[^`]*`|[^\s"`])*)?/y],
  ['ipv4', /\d+\.\d+\.\d+\.\d+/y],
  ['float', /-?\d*\.\d+/y],
  ['hex', /0x[0-9A-Fa-f]+(?!\w)/y],
  ['integer', /-?\d+(?!\w)/y],
  ['word', /\w+/y],
  ['symbol', /[\s\S]/y],
]

const UNFINISHED: { readonly [first: string]: string } = {
  '"': 'a string that begins here does not end',
  '`': 'a command that begins here does not end',
}

/** @throws ScriptFailure where a string, command, comment or piece of code does not end */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  for (let at = 0; at < text.length; ) {
    const [kind, match] = next(text, at)
    const [whole, inner] = match
    if (kind === 'symbol') assertFinished(text, at, line)
    if (kind !== 'nothing') tokens.push({ kind, text: inner ?? whole, line })
    line += whole.split('\n').length - 1
    at += whole.length
  }
  tokens.push({ kind: 'end', text: 'the end of the script', line })
  return tokens
}

function next(text: string, at: number): readonly [TokenKind | 'nothing', RegExpExecArray] {
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match !== null) return [kind, match]
  }
  throw new Error('the last pattern fits any character')
}

function assertFinished(text: string, at: number, line: number): void {
  const unfinished = text.startsWith('/*', at)
    ? 'a comment that begins here does not end'
    : text.startsWith('%{', at)
      ? 'code that begins here does not end: }% is missing'
      : UNFINISHED[text[at]!]
  if (unfinished !== undefined) throw new ScriptFailure(line, unfinished)
}

/**
 * `--define=NAME=VALUE`: the word is that value from there on. What is in strings, commands and code stays as it is.
 */
export function replaceDefined(tokens: readonly Token[]): Token[] {
  const defined = new Map<string, readonly Token[]>()
  return tokens.flatMap((token) => {
    const [, name, value] = token.kind === 'option' ? (/^--define=(\w+)=([\s\S]*)$/.exec(token.text) ?? []) : []
    if (name !== undefined && value !== undefined) {
      defined.set(name, tokenize(value).slice(0, -1))
      return []
    }
    const replaced = token.kind === 'word' ? defined.get(token.text) : undefined
    return replaced?.map((other) => ({ ...other, line: token.line })) ?? [token]
  })
}
