// The members of a machine at work: each speaks to the next one's server, while one of them ends its server and begins another, and one changes
// the discipline of the hosts.
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../../src/base/random.ts'
import { DISCIPLINES, type Discipline } from '../../src/net/discipline.ts'
import type { SoakMachine } from './machine.ts'
import type { Rounds } from './part.ts'
import type { Target } from './talk.ts'

/** Of member 0's server; the others' follow. */
export const MEMBER_PORT = 9100
const TALKS = 64
const AT_ONCE = 16
const LARGEST = 100_000
export interface CrewOptions {
  /** The host whose servers the members have. */
  readonly server: number
  /** The host whose clients they are, and whom a member's client speaks to. */
  readonly client: number
  readonly target: (member: number) => Target
  /** In so many of a round's first ms programs end, and disciplines change: while all speak. */
  readonly amidMs: number
  readonly random: Random
}

export class Crew {
  readonly #machine: SoakMachine
  readonly #rounds: Rounds
  readonly #options: CrewOptions
  #disciplines = 0

  constructor(machine: SoakMachine, rounds: Rounds, options: CrewOptions) {
    this.#machine = machine
    this.#rounds = rounds
    this.#options = options
  }

  /** All servers begin. */
  async begin(): Promise<void> {
    for (const member of this.#machine.members) await this.#serve(member)
  }

  async end(): Promise<void> {
    for (const member of this.#machine.members) await this.#machine.ask(member, { kind: 'end' })
  }

  /** All members have some conversations. A server that ends in the round may cut them off; no other may. */
  async talk(isRestart: boolean): Promise<void> {
    const { client, target, random } = this.#options
    const { members } = this.#machine
    const all = members.map(async (member) => {
      const seed = random.next() >>> 0
      const talks = { host: client, count: TALKS, atOnce: AT_ONCE, most: LARGEST, seed }
      const endings = await this.#machine.talk(member, { ...talks, target: target(member) })
      if (endings.cut > 0 && !isRestart)
        throw new Error(`cpu ${member}: ${endings.cut} conversations were cut off, and no server has ended`)
      this.#rounds.add(endings)
    })
    await Promise.all(all)
  }

  /** In the middle of a round some member's server ends, and begins again. */
  async restart(): Promise<void> {
    const { members } = this.#machine
    await this.#amid()
    await this.#serve(members[this.#rounds.progress.restarts++ % members.length]!)
  }

  /** In the middle of a round some member changes the discipline of all hosts. */
  async changeDiscipline(hosts: number): Promise<void> {
    const { members } = this.#machine
    await this.#amid()
    const discipline: Discipline = DISCIPLINES[this.#disciplines++ % DISCIPLINES.length]!
    this.#rounds.progress.disciplines++
    for (let host = 0; host < hosts; host++) {
      await this.#machine.setDiscipline(members[(this.#disciplines + host) % members.length]!, host, discipline)
    }
  }

  async #serve(member: number): Promise<void> {
    await this.#machine.ask(member, { kind: 'serve', host: this.#options.server, port: MEMBER_PORT + member })
  }

  #amid(): Promise<void> {
    return delay(this.#options.random.below(this.#options.amidMs))
  }
}
