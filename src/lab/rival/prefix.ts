// Routes and targets to look up, as of a routing table of the Internet: for whoever measures lookups.
import type { Random } from '../../base/random.ts'
import { addressBytes, Family, networkBytes } from '../../net/address.ts'
import type { Route } from '../../net/route/table.ts'

/** So many different prefixes: half of them as long as the longest common one, the rest shorter. */
export function randomRoutes(random: Random, family: Family, count: number): Route[] {
  const bytes = addressBytes(family)
  const [longest, shortest] = family === Family.inet ? [24, 12] : [48, 28]
  const routes = new Map<string, Route>()
  while (routes.size < count) {
    const address = Uint8Array.from({ length: bytes }, () => random.below(256))
    // IPv6 is given out of 2000::/3.
    if (family === Family.inet6) address[0] = 0x20 | (address[0]! & 0x1f)
    const length = random.chance(0.5) ? longest : shortest + random.below(longest - shortest)
    const network = networkBytes(address, length)
    routes.set(`${network.join('.')}/${length}`, { family, bytes: network, length, interfaceIndex: routes.size + 1 })
  }
  return [...routes.values()]
}

/** Addresses inside of random routes, next to each other. */
export function randomTargets(random: Random, family: Family, routes: readonly Route[], count: number): Uint8Array {
  const bytes = addressBytes(family)
  const u8 = new Uint8Array(count * bytes)
  for (let target = 0; target < count; target++) {
    const route = routes[random.below(routes.length)]!
    for (let index = 0; index < bytes; index++) {
      const fixed = Math.min(Math.max(route.length - index * 8, 0), 8)
      u8[target * bytes + index] = route.bytes[index]! | (random.below(256) & (0xff >>> fixed))
    }
  }
  return u8
}
