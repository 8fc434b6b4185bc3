// What a case of the table is: programs of two hosts that talk, plain generators against the sockets' API. The same case runs in the simulator,
// on worker threads and on an event loop, under every discipline, and with its programs on CPUs that own connections and on such that do not.
import type { Discipline } from '../../src/net/discipline.ts'
import type { Program } from './program.ts'

export type Play = (program: Program) => Generator<void, void, void>

export interface Case {
  /** A sentence. */
  readonly name: string
  /** One program of the server's host, and one of the client's; each has a CPU, which may be the same. */
  readonly server?: Play
  readonly client?: Play
  /** A program of the server's host on each CPU, and of the client's. */
  readonly servers?: Play
  readonly clients?: Play
  /** On a real host it takes seconds: there it is of the long form only. */
  readonly isSlow?: true
  /** Where it means something. Default: everywhere. */
  readonly where?: (setting: Setting) => boolean
}

/** What a case runs in. */
export interface Setting {
  readonly host: 'sim' | 'threads' | 'inline'
  readonly discipline: Discipline
  /** Of connp-l. */
  readonly groups?: number
  /** CPUs that own connections, of both hosts. One more has only programs. */
  readonly owners: number
}

/** Which CPU has which program. */
export interface Place {
  readonly server: number
  readonly client: number
}

/** On CPUs that own connections, and, both, on the one that has only programs. */
export function placesOf({ owners }: Setting): readonly Place[] {
  return [
    { server: 0, client: owners - 1 },
    { server: owners, client: owners },
  ]
}

export const SERVER = '10.0.0.2'
export const CLIENT = '10.0.0.1'
