// What a script's file descriptors stand for. A call that would block is asked again: each method gives an attempt (outcome.ts).
import type { Attempt } from './outcome.ts'
import type { Value } from './script.ts'

export interface Place {
  readonly address: string
  readonly port: number
}

/** An option of a socket: by its level and name, such as `SOL_SOCKET` `SO_KEEPALIVE`. */
export interface OptionName {
  readonly level: string
  readonly name: string
  readonly line: number
}

/** What is to be sent: so many bytes, or just these. */
export type Content = number | Uint8Array

export interface Descriptor {
  /** O_NONBLOCK */
  isNonblocking: boolean
  bind(place: Place): Attempt
  listen(backlog: number): Attempt
  accept(): Attempt
  connect(place: Place): Attempt
  /** `target` undefined: where it is connected to. */
  send(content: Content, flags: number, target: Place | undefined): Attempt
  receive(bytes: number, flags: number): Attempt
  shutdown(how: number): Attempt
  close(): Attempt
  /** Gives back the memory that it has for itself. */
  release(): void
  /** @throws Unsupported */
  setOption(option: OptionName, value: Value): Attempt
  /** Number or name. @throws Unsupported */
  option(option: OptionName): number | string
  /** What can be read at once, in bytes. @throws Unsupported */
  readableBytes(line: number): number
  /** What was written and has not been acknowledged. @throws Unsupported */
  unsentBytes(line: number): number
  /** The events of poll(2) that there are. */
  readonly events: number
}
