// What is fuzzed: a parser, with inputs to begin with and a judge. Inputs are run in sessions, so that what costs something to build is built
// once for many of them, and what an input leaves behind meets those that follow.
import type { Random } from '../../src/base/random.ts'
import type { Bytes } from './mutation.ts'

export interface Session {
  /** @throws (or rejects with) whatever is wrong with what the parser did */
  run(input: Bytes): void | Promise<void>
  /** The session's end. @throws where what is left is not what there was before */
  close(): void | Promise<void>
}

export interface Target {
  readonly name: string
  /** Inputs of one session. Default 10 000. */
  readonly inputs?: number
  /** Well-formed inputs, and known ones that are not. */
  seeds(): readonly Bytes[]
  open(): Session | Promise<Session>
  /** Changes an input with knowledge of what it is. Default: by its bytes alone. */
  mutate?(random: Random, input: Bytes, other: Bytes): Bytes
}
