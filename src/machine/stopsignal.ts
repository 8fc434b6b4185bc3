// SIGINT and SIGTERM stop a machine in order; then the process ends as the signal would have ended it.
import type { Machine } from './machine.ts'

/** Marks the listeners that are a machine's: several machines may live in one process. */
const OWN = Symbol('the machine stops at this signal')

export function stopAtSignals(machine: Machine): void {
  const onSignal = (signal: NodeJS.Signals) => {
    const others = process.listeners(signal).some((listener) => !(OWN in listener))
    void machine
      .stop()
      .catch(() => {})
      .finally(() => {
        remove()
        // Whoever else listens decides what becomes of the process; of several machines the last to stop ends it.
        if (!others && process.listenerCount(signal) === 0) process.kill(process.pid, signal)
      })
  }
  Object.defineProperty(onSignal, OWN, { value: true })
  const remove = () => {
    process.removeListener('SIGINT', onSignal)
    process.removeListener('SIGTERM', onSignal)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  void machine.settled.then(remove)
}
