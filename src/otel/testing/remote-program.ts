// What the CPUs of otel.test.ts run: CPU 0 has got a request with a header and sends to CPU 1, which tells its chain to whoever asks.
import type { Cpu } from '../../kernel/cpu.ts'
import { Plain } from '../../kernel/message.ts'
import { FREE_PORT } from '../../kernel/port.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { answerQuestions } from '../../machine/question.ts'
import { withTraceparent } from '../main.ts'

const HEADER = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

export default function program(cpu: Cpu): void {
  let told: { readonly chain: Chain; readonly nowUs: number } | undefined
  answerQuestions(cpu, (_question, answer) => answer(told))
  if (cpu.index === 1) {
    cpu.ports.create({
      name: 'asked',
      handler: () => {
        told = { chain: cpu.tracer.where(), nowUs: cpu.clock.now() }
        return 0
      },
    })
    return
  }
  cpu.threads.start('asker', function* (thread) {
    yield* thread.until(() => cpu.ports.find('asked') !== undefined)
    withTraceparent(cpu, HEADER, () => cpu.ports.send(cpu.ports.lookup('asked'), cpu.ports.allocate(Plain, FREE_PORT)))
  })
}
