// Questions from outside: what a thread that is no CPU wants of one. A CPU's program says how it answers; `Machine.ask` asks, between two turns
// of that CPU, whose run loop goes on meanwhile.
import { assert } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { type PackedError, pack, unpack } from './failure.ts'

/** Answers once, now or later: with what can be cloned, or with an error. */
export type Answerer = (question: unknown, answer: (result: unknown) => void) => void

export interface Question {
  readonly number: number
  readonly question: unknown
}

export type Answer = { readonly number: number } & ({ readonly value: unknown } | { readonly error: PackedError })

/** How questions are answered on this CPU: for its program, once. */
export function answerQuestions(cpu: Cpu, answerer: Answerer): void {
  const answerers = answerersOf(cpu)
  assert(answerers.length === 0, 'a CPU answers in one way')
  answerers.push(answerer)
}

/** Has a question answered here, on the CPU's own thread. */
export function put(cpu: Cpu, { number, question }: Question, reply: (answer: Answer) => void): void {
  const [answerer] = answerersOf(cpu)
  const answer = (result: unknown) =>
    reply(result instanceof Error ? { number, error: pack(result) } : { number, value: result })
  if (answerer === undefined) {
    return answer(
      new KernelError(Errno.EOPNOTSUPP, `cpu ${cpu.index} answers no questions: its program has not said how`, 'ask'),
    )
  }
  try {
    answerer(question, answer)
  } catch (error) {
    answer(error)
  }
}

/** Questions that wait for their answer. For machines. */
export class Questions {
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #next = 0

  ask(question: unknown, send: (question: Question) => void): Promise<unknown> {
    const number = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      send({ number, question })
    })
  }

  answered(answer: Answer): void {
    const asker = this.#waiting.get(answer.number)
    this.#waiting.delete(answer.number)
    if ('error' in answer) asker?.reject(unpack(answer.error))
    else asker?.resolve(answer.value)
  }

  /** The machine has stopped: nobody answers any more. */
  close(): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting)
      reject(new KernelError(Errno.ECANCELED, 'the machine has stopped: boot another one', 'ask'))
  }
}

const ANSWERERS = Symbol('answerers')
const answerersOf = (cpu: Cpu) => cpu.slot<Answerer[]>(ANSWERERS, () => [])
