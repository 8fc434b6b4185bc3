// Three CPUs, of which each hands on to the next: for test/trace-threads.test.ts. The last throws, or the first dies while a message waits.
import { f64 } from '../src/base/struct.ts'
import { type Cpu, EASYNC, message, type Thread } from '../src/kernel.ts'

const Note = message('note of a trace', { value: f64 })

export default function start(cpu: Cpu, data: 'throw' | 'die'): void {
  if (cpu.index === 0) {
    cpu.threads.start('begins', function* begins(thread) {
      yield* thread.until(() => ['second', 'third', 'box'].every((name) => cpu.ports.find(name) !== undefined))
      if (data === 'throw') first(thread, 'second')
      else {
        first(thread, 'box')
        yield* thread.synchronize()
        throw new Error('the first dies')
      }
    })
  }
  if (cpu.index === 1) {
    cpu.ports.create({
      name: 'second',
      handler: function second(m) {
        cpu.ports.forward(cpu.ports.lookup('third'), m)
        return EASYNC
      },
    })
  }
  if (cpu.index === 2) {
    // Nobody takes anything out of it.
    cpu.ports.create({ name: 'box' })
    cpu.ports.create({
      name: 'third',
      handler: () => {
        throw new Error('the third refuses')
      },
    })
  }
}

function first({ cpu }: Thread, port: string): void {
  cpu.ports.send(cpu.ports.lookup(port), cpu.ports.allocate(Note))
}
