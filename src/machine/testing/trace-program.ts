// What the CPUs of the tests of traces run: CPU 0 sends to a port of the last one, whose handler does what `data` says with an error and
// keeps what was seen; each CPU answers a question by what it has kept.
import assert from 'node:assert/strict'
import { Console } from 'node:console'
import { Writable } from 'node:stream'
import type { Cpu } from '../../kernel/cpu.ts'
import { message } from '../../kernel/message.ts'
import { FREE_PORT } from '../../kernel/port.ts'
import { answerQuestions } from '../question.ts'

/** What the handler does: tell a stack that it has caught, or throw. */
export type Doing = 'catch' | 'print' | 'assert' | 'throw'

const Ask = message('test.trace.ask', {})

/** Of a test on this thread: what it has done in the handler. */
export interface TraceData {
  readonly doing?: Doing
}

export default function program(cpu: Cpu, { doing }: TraceData): void {
  const seen: string[] = []
  answerQuestions(cpu, (_question, answer) => answer(seen))
  if (cpu.index === cpu.cpus - 1) {
    cpu.ports.create({
      name: 'asked',
      dispatch: 'deferred',
      handler: function asked() {
        seen.push(stackOf(doing ?? 'catch'))
        return 0
      },
    })
  }
  if (cpu.index === 0) {
    cpu.threads.start('asker', function* asking(thread) {
      yield* thread.until(() => cpu.ports.find('asked') !== undefined)
      ask(cpu)
    })
  }
}

function ask(cpu: Cpu): void {
  cpu.ports.send(cpu.ports.lookup('asked'), cpu.ports.allocate(Ask, FREE_PORT))
}

/** The text that comes of an error here; or the error. */
export function stackOf(doing: Doing): string {
  if (doing === 'throw') throw new Error('thrown', { cause: new Error('its cause') })
  if (doing === 'print') return printed()
  try {
    if (doing === 'assert') assert.equal(1, 2)
    throw new RangeError('caught')
  } catch (error) {
    return (error as Error).stack ?? ''
  }
}

/** What console.trace prints. */
function printed(): string {
  let text = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  new Console(stream).trace('here')
  return text
}
