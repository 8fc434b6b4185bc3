// What the files of the workload "hard-part" share: what is asked for, what is counted, and what a part is.
import { counterSet } from '../../kernel.ts'
import type { NetContext } from '../../net/context.ts'
import type { Visible } from './hard-part-probe.ts'

export const PARTS = ['routes', 'hostcache', 'reassembly'] as const
export type Part = (typeof PARTS)[number]
export const FORMS = ['messages', 'lock', 'locks'] as const
export type Form = (typeof FORMS)[number]

export interface HardPartData {
  readonly part: Part
  readonly form: Form
  readonly cpus: number
  readonly routes: number
  readonly changes: number
  readonly away: number
  /** The same on all CPUs. */
  readonly seed: number
}

export const HardPartCounters = counterSet('lab hard part', [
  'ready',
  /** Lookups, or datagrams that have become whole. */
  'packets',
  'changes',
  /** Changes that could not be made: there are none but in a machine that is too small. */
  'refused',
] as const)

/** A part on one CPU. */
export interface WorkingPart {
  /** Packets of one turn. How many were done: 0 where all that could be waits for messages. */
  work(): number
  readonly visible?: Visible
}

/** What a part is made of, and where it counts. */
export interface PartSetup {
  readonly context: NetContext
  readonly data: HardPartData
  readonly count: Float64Array
}

/** Packets of a turn: as many as one of the run loop takes from a device. */
export const TURN_PACKETS = 64

/** What is shared of a rival is found by this name. */
export const RIVAL = 'lab rival'
