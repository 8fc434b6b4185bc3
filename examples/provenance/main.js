// A bug in a program of several threads, found by its trace. The stack of what the ledger throws ends, as ever, where its thread takes the
// message from the queue; with tracing on it goes on through the queues, to whoever has sent it.
//
//   node examples/provenance/main.js [off | all | 1/N]
import { boot, parseTraceMode } from 'damselfly/kernel'

const machine = await boot({
  cpus: 3,
  program: new URL('./shop.js', import.meta.url),
  trace: parseTraceMode(process.argv[2] ?? 'all'),
})
try {
  await machine.done
} catch (failure) {
  console.log(failure.message)
  console.log(failure.cause.stack)
}
