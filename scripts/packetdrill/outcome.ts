// How a call of a socket ends. For all that makes calls in this folder.
import type { KernelError } from '../../src/base/errno.ts'
import type { Descriptor } from './descriptor.ts'

export interface Outcome {
  /** What the function returns; -1 with `errno`. */
  readonly value: number
  /** The errno's name. */
  readonly errno?: string
  /** What was given back through an argument is not what the script says: a sentence. */
  readonly mismatch?: string
  /** A descriptor was made: the script says its number. */
  readonly descriptor?: Descriptor
}

/** Makes a call, or goes on with it. Undefined: it cannot end yet. */
export type Attempt = () => Outcome | undefined

export const SUCCESS: Outcome = { value: 0 }

export function success(value: number): Outcome {
  return { value }
}

export function failure(errno: string): Outcome {
  return { value: -1, errno }
}

/** What `run` throws for its caller, as a program gets it. */
export function caught(run: () => Outcome | undefined): Outcome | undefined {
  try {
    return run()
  } catch (error) {
    if (error instanceof Error && error.name === 'KernelError') return failure((error as KernelError).code)
    throw error
  }
}

/** `first` once, and then `next` until it has a result: what it waits for, `first` has begun. */
export function after(first: () => void, next: Attempt): Attempt {
  let begun = false
  return () =>
    caught(() => {
      if (!begun) first()
      begun = true
      return next()
    })
}
