// How a host is described: plain data, the same on every CPU, from which each builds its part of the host.
import type { DeviceSpec } from '../device/spec.ts'
import type { Discipline } from './discipline.ts'
import type { DispatchPolicies, Layer } from './policy.ts'

export interface InterfaceConfig {
  /** As it shows in tables: `wire0`, `df0`. */
  readonly name: string
  readonly device: DeviceSpec
  /** Addresses with their prefix length: `10.77.0.2/24`. @rfc 1122 3.2.2.9/static 3.3.1.6 */
  readonly addresses: readonly string[]
}

export interface RouteConfig {
  /** `0.0.0.0/0` is the default route. */
  readonly prefix: string
  /** The next router; without it the prefix is on the link itself. */
  readonly gateway?: string
  /** The interface's name. */
  readonly interface: string
}

export interface HostConfig {
  readonly name: string
  /** Numbers the hosts of a machine, from 0. */
  readonly index: number
  /** The CPUs that the host's connections are spread over. The first is its control CPU. */
  readonly cpus: readonly number[]
  /** CPUs that only have programs of the host: no flow belongs to them, and no device has a queue there. Default none. */
  readonly programs?: readonly number[]
  readonly interfaces: readonly InterfaceConfig[]
  /** Besides the routes to the interfaces' own prefixes. */
  readonly routes?: readonly RouteConfig[]
  /** How the CPUs come to work on a connection (discipline.ts). Default `connp-t`: each connection has one CPU. */
  readonly discipline?: Discipline
  /** Of `connp-l`: how many connection groups there are, each with a lock. Default 128. */
  readonly groups?: number
  /** How packets get to each protocol (policy.ts). Default: all `direct`. */
  readonly dispatch?: DispatchPolicies
  /** The boundaries that are queues with threads of their own (policy.ts). Default none. */
  readonly layers?: readonly Layer[]
  /** Packets that may wait in a queue that `dispatch` or `layers` has made; more are dropped. Default 1024. */
  readonly queueLimit?: number
  /** Verify and compute checksums in software. Default true. */
  readonly checksums?: boolean
  /** Ask for ECN (RFC 3168) when a connection is opened. It is always granted. Default false. */
  readonly ecn?: boolean
  /** Local ports of TCP connections whose program asks for none. Default: the dynamic ports, 49152 to 65535 (RFC 6335 6). */
  readonly ephemeralPorts?: { readonly first: number; readonly last: number }
  /**
   * Where TCP's sequence numbers begin at the time 0, for simulations: from there on they go by the clock alone (RFC 9293 3.4.1), so that
   * they pass 2^32 when one likes. Everybody can guess them then. Default: a keyed hash (RFC 6528).
   */
  readonly initialSequence?: number
}
