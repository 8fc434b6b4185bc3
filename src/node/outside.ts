// Calls that libuv makes itself, with no callback of Node's around them. C++ that is given bytes makes a callback for each thing that it
// finds in them, and behind each runs what process.nextTick and promises have put off, unless all of it lies within another
// callback already, as whatever JavaScript calls does. HTTP/2 depends on it: of a stream that is opened and cancelled by the same bytes
// its program is told when it was opened, and not when it is gone.
//
// A descriptor that the loop watches does it, where koffi is there (as with any device of the kernel). For NodeLoop.
import { KernelError } from '../base/errno.ts'
import { closeEventfd, drain, openEventfd, signal } from '../device/linux/eventfd.ts'
import { watchByLoop } from '../device/sleeper.ts'
import type { Cpu } from '../kernel/cpu.ts'
import type { EventLoopDriver } from '../machine/eventloop.ts'
import { runTicks } from './binding.ts'

export class OutsideCalls {
  readonly #bell: number
  #calls: (() => void)[] = []

  private constructor(bell: number) {
    this.#bell = bell
  }

  /** Undefined where there is no koffi, or it does not offer it. */
  static open(cpu: Cpu, driver: EventLoopDriver): OutsideCalls | undefined {
    let bell = -1
    try {
      bell = openEventfd()
      const calls = new OutsideCalls(bell)
      const watch = watchByLoop(bell, () => calls.#run())
      if (watch !== undefined) {
        driver.addWatch(watch)
        cpu.onStop(() => {
          calls.#calls = []
          watch.close()
          closeEventfd(bell)
        })
        return calls
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
    }
    if (bell >= 0) closeEventfd(bell)
    return undefined
  }

  call(call: () => void): boolean {
    if (this.#calls.push(call) === 1) signal(this.#bell)
    return true
  }

  #run(): void {
    drain(this.#bell)
    const calls = this.#calls
    this.#calls = []
    for (const call of calls) {
      try {
        call()
        runTicks()
      } catch (error) {
        // Nobody is there to take it: it is thrown where Node is.
        setImmediate(() => {
          throw error
        })
      }
    }
  }
}
