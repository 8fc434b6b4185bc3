// From a script's text to its tree (script.ts). The language is that of packetdrill's manual page: options first, then events, each a time
// and what happens then.
import { ScriptFailure } from './error.ts'
import { parsePacket } from './parse-packet.ts'
import { parseValue, parseValues } from './parse-value.ts'
import { Reader } from './reader.ts'
import type { Action, Call, Event, Option, Script, Time } from './script.ts'
import { replaceDefined, tokenize } from './token.ts'

const US_PER_S = 1e6

/**
 * @throws ScriptFailure with its line where the text is no script; Unsupported where it is one, and has something that the stack has not
 */
export function parse(text: string): Script {
  const reader = new Reader(replaceDefined(tokenize(text)))
  const options: Option[] = []
  while (reader.is('option')) options.push(parseOption(reader))
  const events: Event[] = []
  while (!reader.is('end')) events.push(parseEvent(reader))
  if (events.length === 0) throw new ScriptFailure(reader.line, 'the script has no events')
  return { options, events }
}

function parseOption(reader: Reader): Option {
  const { text, line } = reader.take()
  const [, name = '', value = ''] = /^--(\w+)=?([\s\S]*)$/.exec(text) ?? []
  return { line, name, value: value.replace(/^"([\s\S]*)"$/, '$1') }
}

function parseEvent(reader: Reader): Event {
  const { line } = reader
  if (reader.is('option')) reader.fail('options stand before the first event: an event is expected')
  if (reader.is('command'))
    return { line, time: { kind: 'none' }, action: { kind: 'command', text: reader.take().text } }
  const time = parseTime(reader)
  const action = parseAction(reader, time)
  const isOutbound = action.kind === 'packet' && action.packet.direction === 'out'
  if (!isOutbound && (time.kind === 'any' || ('endUs' in time && time.endUs !== undefined))) {
    throw new ScriptFailure(line, 'only an outbound packet can come at any time, or within a range of time')
  }
  return { line, time, action }
}

function parseTime(reader: Reader): Time {
  if (reader.skipSymbol('*')) return { kind: 'any' }
  const kind = reader.skipSymbol('+') ? 'relative' : 'absolute'
  const us = parseSeconds(reader)
  if (!reader.skipSymbol('~')) return { kind, us }
  if (kind === 'relative') reader.symbol('+')
  const endUs = parseSeconds(reader)
  if (endUs < us) reader.fail('a range of time ends after it has begun')
  return { kind, us, endUs }
}

function parseSeconds(reader: Reader): number {
  if (!reader.is('float') && !reader.is('integer')) reader.fail('a time is expected: 0.1, +0.1, or *')
  const seconds = Number(reader.take().text)
  if (seconds < 0) reader.fail('a time is not negative')
  return Math.round(seconds * US_PER_S)
}

function parseAction(reader: Reader, time: Time): Action {
  if (reader.isSymbol('<') || reader.isSymbol('>')) return { kind: 'packet', packet: parsePacket(reader) }
  if (reader.is('command')) return { kind: 'command', text: reader.take().text }
  if (reader.is('code')) return { kind: 'code', text: reader.take().text }
  return { kind: 'call', call: parseCall(reader, time) }
}

function parseCall(reader: Reader, time: Time): Call {
  const { line } = reader
  const blocks = reader.is('ellipsis')
  if (blocks) reader.take()
  const endUs = blocks ? parseSeconds(reader) : undefined
  if (endUs !== undefined && time.kind !== 'any' && time.kind !== 'none' && endUs < time.us) {
    throw new ScriptFailure(line, 'a call ends after it has begun')
  }
  const name = reader.word('a packet, a call, a command or code')
  reader.symbol('(')
  const args = parseValues(reader, ')')
  reader.symbol('=')
  const result = parseValue(reader)
  const errno = reader.is('word') ? reader.take().text : undefined
  // What the number means, for people.
  if (reader.skipSymbol('(')) while (!reader.skipSymbol(')') && !reader.is('end')) reader.take()
  return {
    ...{ name, args, result },
    ...(endUs === undefined ? {} : { endUs }),
    ...(errno === undefined ? {} : { errno }),
  }
}
