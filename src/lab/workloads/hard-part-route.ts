// The routes of the workload "hard-part": a lookup for each packet, and a change after so many of them. Every CPU has
// some prefixes of its own, whose routes come and go.
import { Random } from '../../base/random.ts'
import type { Address, Thread } from '../../kernel.ts'
import { Family, type Prefix } from '../../net/address.ts'
import type { NetContext } from '../../net/context.ts'
import { type RoundFields, RoundKind, Rounds } from '../../net/control/round.ts'
import { RouteRounds } from '../../net/control/route.ts'
import { randomRoutes, randomTargets } from '../rival/prefix.ts'
import { LockedRoutes } from '../rival/route.ts'
import { isPublished } from '../rival/shared.ts'
import { Changes } from './hard-part-changes.ts'
import { HardPartCounters, type PartSetup, RIVAL, TURN_PACKETS, type WorkingPart } from './hard-part-setup.ts'

const C = HardPartCounters.index
/** A power of two. */
const TARGETS = 1024
const ADDRESS = 4
/** Routes of each CPU that come and go. */
const OWN = 64
/** The interface of what comes and goes: no other route has it. */
const CHANGING = 60_000
const PROBE_US = 2000

/** Routes that can be found and changed, in one form or the other. */
interface Routes {
  /** The interface that an address is reached by; 0 where there is no route. */
  lookup(address: Address): number
  /** Adds the route or takes it out, and calls `done` when it is so. */
  change(prefix: Prefix, isThere: boolean, done: (errno: number) => void): void
}

export function* routePart(thread: Thread, setup: PartSetup): Generator<void, WorkingPart, void> {
  const { context, data, count } = setup
  const { cpu } = context
  const random = new Random(data.seed)
  const initial = randomRoutes(random, Family.inet, data.routes)
  const targets = cpu.slab.allocate(TARGETS * ADDRESS)
  context.u8.set(randomTargets(random.fork(cpu.index), Family.inet, initial, TARGETS), targets)
  const routes = yield* data.form === 'messages'
    ? replicated(thread, context, initial)
    : locked(thread, context, initial)
  // Longer than all others, so that they are in nobody's way.
  const own = Array.from({ length: OWN }, (_, i) => prefixOf(240, cpu.index, i))
  const changes = new Changes(data.changes, OWN, (place, isThere, done) =>
    routes.change(own[place]!, isThere, (errno) => {
      count[errno === 0 ? C.changes : C.refused]!++
      done()
    }),
  )
  const probe = prefixOf(241, 0, 0)
  const probed = cpu.slab.allocate(64) + 16
  context.u8.set(probe.bytes, probed)
  let next = 0
  let found = 0
  return {
    work() {
      let left = TURN_PACKETS
      while (left > 0) {
        const run = changes.before(left)
        if (run === 0) break
        for (let i = 0; i < run; i++) found += routes.lookup(targets + (next++ & (TARGETS - 1)) * ADDRESS) & 1
        left -= run
        count[C.packets]! += run
      }
      // What is looked up must be of use to somebody, or it need not be done at all.
      if (found < 0) throw new RangeError('an interface has a number')
      return TURN_PACKETS - left
    },
    visible: {
      everyUs: PROBE_US,
      change: (sequence) => routes.change(probe, sequence % 2 === 1, () => {}),
      sees: (sequence) => (routes.lookup(probed) === CHANGING) === (sequence % 2 === 1),
    },
  }
}

function prefixOf(first: number, second: number, last: number): Prefix {
  return { family: Family.inet, bytes: Uint8Array.of(first, second, 0, last), length: 32 }
}

/** As the stack has them: a replica on each CPU, and changes that go round. */
function* replicated(
  thread: Thread,
  context: NetContext,
  initial: readonly (Prefix & { interfaceIndex: number })[],
): Generator<void, Routes, void> {
  const { cpu, u8, routes, members } = context
  const rounds = new Rounds(context)
  new RouteRounds(context, rounds)
  for (const route of initial) routes.insert(route)
  yield* thread.until(() => members.every((each) => cpu.ports.find(context.portName('control', each)) !== undefined))
  let prefix: Prefix | undefined
  const fill = (round: RoundFields) => {
    round.family = Family.inet
    round.length = prefix!.length
    round.interfaceIndex = CHANGING
    u8.set(prefix!.bytes, round.first)
  }
  return {
    lookup: (address) => routes.lookup(u8, Family.inet, address)?.interfaceIndex ?? 0,
    change(changed, isThere, done) {
      prefix = changed
      if (!rounds.start(isThere ? RoundKind.addRoute : RoundKind.removeRoute, fill, done)) done(-1)
    },
  }
}

/** One table for all, under a reader-writer lock. */
function* locked(
  thread: Thread,
  { cpu }: NetContext,
  initial: readonly (Prefix & { interfaceIndex: number })[],
): Generator<void, Routes, void> {
  let routes: LockedRoutes
  if (cpu.index === 0) {
    routes = LockedRoutes.create(cpu, RIVAL)
    for (const route of initial) routes.insert(route)
  } else {
    yield* thread.until(() => isPublished(cpu, RIVAL))
    routes = LockedRoutes.attach(cpu, RIVAL)
  }
  return {
    lookup: (address) => (routes.lookup(Family.inet, address) ? routes.interfaceIndex : 0),
    change(prefix, isThere, done) {
      done(isThere ? routes.insert({ ...prefix, interfaceIndex: CHANGING }) : routes.remove(prefix))
    },
  }
}
