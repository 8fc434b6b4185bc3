// What a CPU of a soak does besides its part of the hosts: a server that ends and begins again, clients of the other CPUs' servers, readings.
// The part's own thread asks for each (`Machine.ask`).
import { KernelError } from '../../src/base/errno.ts'
import { Random } from '../../src/base/random.ts'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { answerQuestions } from '../../src/machine/question.ts'
import type { Discipline } from '../../src/net/discipline.ts'
import type { Stack } from '../../src/stack.ts'
import { EchoServer } from './echo-server.ts'
import { type Leak, leak } from './leak.ts'
import { liveObjects, readCpu } from './measure.ts'
import { type Ending, type Target, talk } from './talk.ts'

export type Question =
  /** A CpuReading. */
  | { readonly kind: 'read' }
  /** How many TCP sockets are not closed. */
  | { readonly kind: 'sockets' }
  /** How many objects of its slabs are in use. */
  | { readonly kind: 'live' }
  /** Ends the server of a host's that runs here, if one does, and begins another. */
  | { readonly kind: 'serve'; readonly host: number; readonly port: number }
  /** Ends it. */
  | { readonly kind: 'end' }
  | ({ readonly kind: 'talk' } & Talks)
  | { readonly kind: 'discipline'; readonly host: number; readonly discipline: Discipline }
  | { readonly kind: 'leak'; readonly leak: Leak }

export interface Talks {
  /** Whose client speaks. */
  readonly host: number
  readonly target: Target
  readonly count: number
  readonly atOnce: number
  /** The largest, in bytes. */
  readonly most: number
  readonly seed: number
}

export type Endings = { [E in Ending]: number }

/** Conversations that take longer stand still. */
const TALKS_US = 90e6

/** @param stacks the hosts' parts here, by their numbers */
export function answerAsMember(cpu: Cpu, stacks: readonly Stack[]): void {
  let server: EchoServer | undefined
  const end = (done: () => void) => {
    const ending = server
    server = undefined
    if (ending === undefined) done()
    else ending.end(done)
  }
  answerQuestions(cpu, (asked, answer) => {
    const question = asked as Question
    // Who asks does so between two turns.
    cpu.refresh()
    switch (question.kind) {
      case 'read':
        return answer(readCpu(cpu, stacks))
      case 'sockets':
        return answer(stacks.reduce((sum, { tcp }) => sum + tcp.size, 0))
      case 'live':
        return answer(liveObjects(cpu))
      case 'serve':
        return end(() => {
          server = new EchoServer(stacks[question.host]!, question.port, (error) => answer(error ?? true))
        })
      case 'end':
        return end(() => answer(true))
      case 'talk':
        return talkToAll(stacks[question.host]!, question, answer)
      case 'discipline':
        return stacks[question.host]!.setDiscipline(question.discipline, undefined, (error) => answer(error ?? true))
      case 'leak':
        leak(cpu, question.leak)
        return answer(true)
    }
  })
}

/** Has all conversations, some at a time. Answers with their endings. */
function talkToAll(stack: Stack, talks: Talks, answer: (result: unknown) => void): void {
  const { target, count, atOnce, most } = talks
  const { timers, index } = stack.context.cpu
  const random = new Random(talks.seed)
  const endings: Endings = { whole: 0, busy: 0, cut: 0, wrong: 0 }
  let begun = 0
  let over = 0
  const cancel = timers.after(TALKS_US, () => {
    const sentence = `cpu ${index}: ${over} of ${count} conversations are over after ${TALKS_US / 1e6} s: ${JSON.stringify(endings)}`
    answer(new Error(sentence))
  })
  const next = () => {
    if (begun === count) return
    begun++
    try {
      talk(stack, target, random, most, ended)
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      cancel()
      answer(error)
    }
  }
  const ended = (ending: Ending) => {
    endings[ending]++
    if (++over === count) {
      cancel()
      answer(endings)
    } else next()
  }
  for (let i = 0; i < atOnce; i++) next()
}
