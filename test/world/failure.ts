// How a world fails: a kind, which the shrinker compares, and a sentence for people.
export class WorldFailure extends Error {
  override readonly name = 'WorldFailure'
  /** The same for the same mistake, whatever the numbers are. */
  readonly kind: string

  constructor(kind: string, sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? {} : { cause })
    this.kind = kind
  }

  /** What was thrown, as a failure: the first one that it was caused by. */
  static of(error: unknown): WorldFailure {
    for (let each = error; each instanceof Error; each = each.cause) if (each instanceof WorldFailure) return each
    let root = error
    while (root instanceof Error && root.cause instanceof Error) root = root.cause
    const text = root instanceof Error ? root.message : String(root)
    return new WorldFailure(`throws: ${text.replace(/\d+(\.\d+)?/g, '#')}`, stackOf(error), error)
  }
}

/** With where it was thrown, if it was not one of ours. */
function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  return cause instanceof Error ? `${error.message}\n${cause.stack}` : (error.stack ?? error.message)
}
