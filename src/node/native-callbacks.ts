// C++ that is given bytes makes a callback for each thing that it finds in them. Where nothing else is on the stack it runs behind each
// what process.nextTick and promises have put off; called from JavaScript, as here, it does not. HTTP/2 depends on it: the program is told
// in a tick of a stream that was opened, and if the same bytes cancel the stream, it would be told when it is gone, and would throw
// where it answers: a stranger could end a server by that.
//
// Hooks of asynchronous resources tell where a callback ends. They cost 0.3 to 0.9 µs to switch on and off, and are on
// during the call alone. For TcpHandle.
import { createHook } from 'node:async_hooks'
import { isLoaded, runTicks, uncaught } from './binding.ts'

export class NativeCallbacks {
  /** The stream's own: what C++ asks of the stream itself is no callback of the program's. */
  #own = 0
  /** Callbacks within callbacks are part of those. */
  #depth = 0
  #inTicks = false
  readonly #hook = createHook({
    before: () => {
      this.#depth++
    },
    after: (resource) => {
      if (--this.#depth === 0 && resource !== this.#own && !this.#inTicks) this.#run()
    },
  })

  /** Whether what reads may be HTTP/2. */
  get needed(): boolean {
    return isLoaded('http2')
  }

  /**
   * Makes a call of C++, and runs behind each callback that comes of it what that has put off.
   * @param own the number of the stream's resource
   */
  separate(own: number, call: () => void): void {
    this.#own = own
    this.#depth = 0
    this.#hook.enable()
    try {
      call()
    } finally {
      this.#hook.disable()
    }
  }

  #run(): void {
    this.#inTicks = true
    try {
      runTicks()
    } catch (error) {
      // What is thrown in a hook ends the process: it is right where the exception would have.
      uncaught(error)
    } finally {
      this.#inTicks = false
    }
  }
}
