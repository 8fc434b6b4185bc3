// What the CPUs of inspector.test.ts run: CPU 0 sends to CPU 1 again and again, by a timer.
import { console as inspected } from 'node:inspector'
import type { Cpu } from '../src/kernel/cpu.ts'
import { Plain } from '../src/kernel/message.ts'
import { FREE_PORT } from '../src/kernel/port.ts'

export default function program(cpu: Cpu): void {
  if (cpu.index === 1) {
    cpu.ports.create({
      name: 'probed',
      dispatch: 'deferred',
      handler: function probed() {
        inspected.trace('probe')
        return 0
      },
    })
  } else askLater(cpu)
}

function askLater(cpu: Cpu): void {
  cpu.timers.after(20_000, function asks() {
    const port = cpu.ports.find('probed')
    if (port !== undefined) cpu.ports.send(port, cpu.ports.allocate(Plain, FREE_PORT))
    askLater(cpu)
  })
}
