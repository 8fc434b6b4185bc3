// Loaded into the program of `damselfly run`, behind the preload that gives it its host: other commands find and ask this instance.
import { basename } from 'node:path'
import { started } from '../node/preload.ts'

if (started !== undefined) {
  const { host, machine } = started
  // Only now: what these load is on the host's side of Node's modules already.
  const { serveControl } = await import('./control.ts')
  const { aboutHost, snapshot } = await import('./snapshot.ts')
  const { isDisciplineOrder } = await import('../service/operator.ts')
  const { answerTrace, isTraceOrder } = await import('../service/trace.ts')
  const { Errno, KernelError } = await import('../base/errno.ts')
  const began = performance.now()
  const { config } = host.context
  const addresses = config.interfaces.flatMap((each) => each.addresses)
  const title = `${basename(process.argv[1] ?? 'program')} on ${addresses[0] ?? '127.0.0.1/8'}`
  await serveControl({
    snapshot: () => snapshot(machine, title, (performance.now() - began) * 1000, aboutHost(machine.memory, config)),
    order: async (order) => {
      if (isTraceOrder(order)) return await answerTrace(machine.memory, machine.clock, order)
      if (!isDisciplineOrder(order)) throw new KernelError(Errno.EOPNOTSUPP, 'a program knows no such order', 'order')
      await host.setDiscipline(order.discipline, order.groups)
      return 1
    },
    // Where no socket can be made the program runs all the same.
  }).catch(() => {})
}
