// What the CPUs of question.test.ts run: they answer.
import { Errno, KernelError } from '../../base/errno.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { answerQuestions } from '../question.ts'

export default function program(cpu: Cpu): void {
  let sum = 0
  answerQuestions(cpu, (question, answer) => {
    if (question === 'refuse') return answer(new KernelError(Errno.EBUSY, 'busy: try later'))
    if (question === 'throw') throw new Error('thrown')
    if (question === 'never') return
    const { add, later } = question as { add?: number; later?: number }
    if (later !== undefined) {
      cpu.threads.start('later', function* (thread) {
        for (let i = 0; i < later; i++) yield* thread.pause()
        answer({ cpu: cpu.index, turns: later })
      })
    } else {
      sum += add ?? 0
      answer({ cpu: cpu.index, sum })
    }
  })
}
