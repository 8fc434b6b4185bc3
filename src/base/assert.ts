// Asserts stay on in production: a bug stops the machine loudly, where it is.
// Pass a literal: a template literal costs 15 ns each time, the literal 0.2 ns.

/** Thrown when the machine finds a bug in itself or in a program that broke a primitive's contract. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure'
}

/** Stops with `message` unless `condition` holds. For bugs only: hostile input is a counted drop, never an assert. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) fail(message)
}

/** Out of line, so that `assert` stays small enough to be inlined. */
function fail(message: string): never {
  throw new AssertionFailure(message)
}
