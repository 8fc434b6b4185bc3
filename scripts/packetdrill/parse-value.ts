// The arguments of calls: numbers, words, `...`, strings, lists, records. For parser.ts.
import type { Reader } from './reader.ts'
import type { Value } from './script.ts'

/** `a`, or `a|b|c` */
export function parseValue(reader: Reader): Value {
  const first = parseOne(reader)
  if (!reader.isSymbol('|')) return first
  const parts = [first]
  while (reader.skipSymbol('|')) parts.push(parseOne(reader))
  return { kind: 'or', parts }
}

/** Up to the closing symbol, which is taken. */
export function parseValues(reader: Reader, end: string): Value[] {
  const values: Value[] = []
  if (reader.skipSymbol(end)) return values
  do values.push(parseValue(reader))
  while (reader.skipSymbol(','))
  reader.symbol(end)
  return values
}

function parseOne(reader: Reader): Value {
  const { kind, text } = reader.next
  switch (kind) {
    case 'ellipsis':
      reader.take()
      return { kind: 'any' }
    case 'integer':
    case 'hex':
    case 'float':
      reader.take()
      return { kind: 'number', value: Number(text) }
    case 'string':
      return parseStrings(reader)
    case 'word':
      reader.take()
      if (reader.skipSymbol('(')) return { kind: 'call', name: text, args: parseValues(reader, ')') }
      return { kind: 'word', name: text }
    default:
      if (reader.skipSymbol('[')) return { kind: 'list', items: parseValues(reader, ']') }
      if (reader.skipSymbol('{')) return parseBraces(reader)
      return reader.fail('a value is expected')
  }
}

/** `"a" "b"` is one. What follows may be `...`: more of the same. */
function parseStrings(reader: Reader): Value {
  let text = ''
  while (reader.is('string')) text += withoutEscapes(reader.take().text)
  if (reader.is('ellipsis')) reader.take()
  return { kind: 'string', text }
}

function withoutEscapes(text: string): string {
  return text.replace(/\\(x[0-9A-Fa-f]{2}|[\s\S])/g, (_, escaped: string) => {
    if (escaped.length === 3) return String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
    return { n: '\n', r: '\r', t: '\t', 0: '\0' }[escaped] ?? escaped
  })
}

/** A record if a name and `=` come first, or a name, something in parentheses and `=`. */
function parseBraces(reader: Reader): Value {
  const { next, second } = reader
  const isRecord = next.kind === 'word' && second.kind === 'symbol' && (second.text === '=' || second.text === '(')
  if (!isRecord) return { kind: 'list', items: parseValues(reader, '}') }
  const fields = new Map<string, Value>()
  do {
    const name = reader.word('the name of a field')
    // The length in `msg_iov(1)=` says nothing that the list does not.
    if (reader.skipSymbol('(')) parseValues(reader, ')')
    reader.symbol('=')
    fields.set(name, parseValue(reader))
  } while (reader.skipSymbol(','))
  reader.symbol('}')
  return { kind: 'record', fields }
}
