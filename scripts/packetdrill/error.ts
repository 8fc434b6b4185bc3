// How a script ends that does not pass. For ../packetdrill.ts and all of this folder.

/** The script is wrong, or what happened is not what it says: it has failed. The message may have several lines. */
export class ScriptFailure extends Error {
  override readonly name = 'ScriptFailure'
  readonly line: number

  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}

/** The script needs something that there is not here: it is skipped. The message says what. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported'
  line: number

  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}
