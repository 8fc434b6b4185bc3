// The table: all cases, in the order in which they run.
import type { Case } from './case.ts'
import { CLOSING } from './closing.ts'
import { CROWD } from './crowd.ts'
import { DATA } from './data.ts'
import { DATAGRAM } from './datagram.ts'
import { LISTENING } from './listening.ts'
import { OPENING } from './opening.ts'
import { OPTION } from './option.ts'

export const TABLE: readonly Case[] = [...OPENING, ...CLOSING, ...DATA, ...OPTION, ...LISTENING, ...CROWD, ...DATAGRAM]
