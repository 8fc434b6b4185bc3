// What an operator may ask of the hosts on a running machine, from outside of it: on the CPU that answers for them.
import { Errno, KernelError } from '../base/errno.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { answerQuestions } from '../machine/question.ts'
import type { Discipline } from '../net/discipline.ts'
import type { Stack } from '../stack.ts'

/** From now on the CPUs of all hosts come to work on connections as this says. Answered with how many hosts there are. */
export interface DisciplineOrder {
  readonly order: 'discipline'
  readonly discipline: Discipline
  /** Of `connp-l`. */
  readonly groups?: number
}

/** Answers the orders that come to this CPU for the hosts of these stacks. */
export function obey(cpu: Cpu, stacks: readonly Stack[]): void {
  answerQuestions(cpu, (order, answer) => {
    if (!isDisciplineOrder(order)) {
      answer(
        new KernelError(Errno.EOPNOTSUPP, 'this instance does not know the order: it is of another version', 'order'),
      )
      return
    }
    let left = stacks.length
    let failure: KernelError | undefined
    for (const stack of stacks) {
      stack.setDiscipline(order.discipline, order.groups, (error) => {
        failure ??= error
        if (--left === 0) answer(failure ?? stacks.length)
      })
    }
  })
}

export function isDisciplineOrder(order: unknown): order is DisciplineOrder {
  return typeof order === 'object' && order !== null && 'order' in order && order.order === 'discipline'
}
