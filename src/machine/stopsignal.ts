// SIGINT and SIGTERM stop a machine in order; then the process ends as the signal would have ended it.
import type { Machine } from './machine.ts'

export function stopAtSignals(machine: Machine): void {
  const onSignal = (signal: NodeJS.Signals) => {
    const others = process.listenerCount(signal) > 1
    void machine
      .stop()
      .catch(() => {})
      .finally(() => {
        remove()
        // Whoever else listens decides what becomes of the process.
        if (!others) process.kill(process.pid, signal)
      })
  }
  const remove = () => {
    process.removeListener('SIGINT', onSignal)
    process.removeListener('SIGTERM', onSignal)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  void machine.settled.then(remove)
}
