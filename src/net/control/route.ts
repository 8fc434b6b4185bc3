// Routes of a host: each CPU has a replica of the table, and changes go round (round.ts).
import { Errno, KernelError } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { addressBytes, type Family, networkBytes, parseAddress, parsePrefix } from '../address.ts'
import type { RouteConfig } from '../config.ts'
import type { NetContext } from '../context.ts'
import type { Route } from '../route/table.ts'
import { type Round, RoundKind, type Rounds } from './round.ts'

type RoundCursor = ReturnType<(typeof Round)['cursor']>
const HAS_GATEWAY = 1

export class RouteRounds {
  readonly #context: NetContext
  readonly #rounds: Rounds

  constructor(context: NetContext, rounds: Rounds) {
    this.#context = context
    this.#rounds = rounds
    rounds.handle(RoundKind.addRoute, {
      apply: (round) => this.#guard(() => this.#context.routes.insert(this.#route(round))),
      undo: (round) => this.#context.routes.remove(this.#route(round)),
    })
    rounds.handle(RoundKind.removeRoute, {
      apply: (round) => this.#guard(() => this.#context.routes.remove(this.#route(round))),
      undo: (round) => this.#context.routes.insert(this.#route(round)),
    })
  }

  /** Adds a route to this CPU's replica only: while the host is built, by each CPU alike. @throws KernelError */
  insertHere(config: RouteConfig): void {
    const { family, bytes, length } = parsePrefix(config.prefix)
    const route = { family, bytes: networkBytes(bytes, length), length, interfaceIndex: this.#interfaceIndex(config) }
    const gateway = this.#gateway(config, family)
    this.#context.routes.insert(gateway === undefined ? route : { ...route, gateway })
  }

  /** Adds a route on all CPUs. @throws KernelError EINVAL, ENODEV for what can be seen at once */
  add(config: RouteConfig, done: (errno: number) => void): void {
    this.#start(RoundKind.addRoute, config, done)
  }

  remove(config: RouteConfig, done: (errno: number) => void): void {
    this.#start(RoundKind.removeRoute, config, done)
  }

  #start(kind: RoundKind, config: RouteConfig, done: (errno: number) => void): void {
    const { family, bytes, length } = parsePrefix(config.prefix)
    const gateway = this.#gateway(config, family)
    const interfaceIndex = this.#interfaceIndex(config)
    const { u8 } = this.#context
    const started = this.#rounds.start(
      kind,
      (round) => {
        round.family = family
        round.length = length
        round.interfaceIndex = interfaceIndex
        round.flags = gateway === undefined ? 0 : HAS_GATEWAY
        u8.set(networkBytes(bytes, length), round.first)
        if (gateway !== undefined) u8.set(gateway, round.second)
      },
      done,
    )
    if (!started) done(Errno.ENOBUFS)
  }

  #route(round: RoundCursor): Route {
    const family = round.family as Family
    const bytesAt = (address: Address) => this.#context.u8.slice(address, address + addressBytes(family))
    const route = { family, bytes: bytesAt(round.first), length: round.length, interfaceIndex: round.interfaceIndex }
    return (round.flags & HAS_GATEWAY) === 0 ? route : { ...route, gateway: bytesAt(round.second) }
  }

  #guard(change: () => void): number {
    try {
      change()
      return 0
    } catch (error) {
      if (error instanceof KernelError) return -error.errno
      throw error
    }
  }

  #gateway(config: RouteConfig, family: Family): Uint8Array | undefined {
    if (config.gateway === undefined) return undefined
    const gateway = parseAddress(config.gateway)
    if (gateway.family !== family) {
      const sentence = `route ${config.prefix} via ${config.gateway}: give a gateway of the same address family`
      throw new KernelError(Errno.EINVAL, sentence, 'route')
    }
    return gateway.bytes
  }

  #interfaceIndex(config: RouteConfig): number {
    const found = this.#context.interfaces.find((iface) => iface.name === config.interface)
    if (found?.loopback) {
      const sentence = `route ${config.prefix}: what goes to the loopback interface does not leave the host: name another one`
      throw new KernelError(Errno.EINVAL, sentence, 'route')
    }
    if (found === undefined) {
      const known = this.#context.interfaces.map((iface) => iface.name).join(', ')
      const sentence = `route ${config.prefix}: there is no interface "${config.interface}"; there are ${known}`
      throw new KernelError(Errno.ENODEV, sentence, 'route')
    }
    return found.index
  }
}
