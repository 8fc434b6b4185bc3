// The discipline and the layers that hosts under test have: the same cases run under each. test/disciplines.test.ts runs them under all, and
// under ones that change all the time.
import assert from 'node:assert/strict'
import { Random } from '../../base/random.ts'
import type { Stack } from '../../stack.ts'
import type { HostConfig } from '../config.ts'
import { DISCIPLINES, type Discipline } from '../discipline.ts'
import { parseLayers } from '../policy.ts'

export const VARIABLE = 'DAMSELFLY_DISCIPLINE'
/** As the variable has it, with a seed behind a stroke: it begins as connp-t, and changes. */
export const CHANGING = 'changing'
/** Boundaries that are queues, as `parseLayers` reads them. */
export const LAYERS_VARIABLE = 'DAMSELFLY_LAYERS'

/** What the environment says, `connp-t` or `connp-l` or with a number of groups `connp-l/16`; nothing: the default. */
export function disciplineUnderTest(): Pick<HostConfig, 'discipline' | 'groups' | 'layers'> {
  const text = process.env[VARIABLE] ?? ''
  const layers = layersUnderTest()
  if (text === '' || text.startsWith(CHANGING)) return layers
  const [name, groups] = text.split('/')
  assert(DISCIPLINES.includes(name as Discipline), `${VARIABLE} is "${text}"`)
  return { discipline: name as Discipline, ...(groups === undefined ? {} : { groups: Number(groups) }), ...layers }
}

/** Whether hosts under test change theirs all the time. */
export function isChanging(): boolean {
  return (process.env[VARIABLE] ?? '').startsWith(CHANGING)
}

/** The part of it that is no discipline. */
export function layersUnderTest(): Pick<HostConfig, 'layers'> {
  const text = process.env[LAYERS_VARIABLE] ?? ''
  return text === '' ? {} : { layers: parseLayers(text) }
}

/** Changes the discipline of hosts under test again and again, where the environment says so. */
export class DisciplineChanger {
  /** Changes that are over. */
  changes = 0
  readonly #random: Random | undefined

  constructor() {
    const [name, seed] = (process.env[VARIABLE] ?? '').split('/')
    this.#random = name === CHANGING ? new Random(Number(seed ?? 1)) : undefined
  }

  get isActive(): boolean {
    return this.#random !== undefined
  }

  /** Some CPU of the host begins a change: in a turn of its own, so that it is `run` by whoever is given it. */
  begin(stacks: readonly Stack[], run: (cpu: number, change: (stack: Stack) => void) => void): void {
    const random = this.#random!
    const discipline = DISCIPLINES[random.below(DISCIPLINES.length)]!
    const groups = discipline === 'connp-l' ? 1 + random.below(200) : undefined
    run(random.below(stacks.length), (stack) => {
      stack.setDiscipline(discipline, groups, (error) => {
        // Of two at a time one is refused; or a test has used the memory up.
        if (error === undefined) this.changes++
        else assert(['EBUSY', 'ENOMEM', 'ENOBUFS'].includes(error.code), error.message)
      })
    })
  }

  /** So many µs until the next. */
  pause(): number {
    return 1 + this.#random!.below(20_000)
  }
}
