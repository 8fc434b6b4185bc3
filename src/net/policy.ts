// How a packet gets from one layer to the next on its CPU (netisr(9) of FreeBSD, net.isr.dispatch): by a call, or by a queue.
//
//   direct    a call; where the packet belongs to another CPU, that CPU's queue
//   hybrid    a call if nothing waits in the protocol's queue of this CPU and nobody is serving it, and else that queue
//   deferred  always the queue
//
// And layers as Mach has them: a boundary that is in `layers` is a queue in both directions, served by a kernel thread of its own.
//
//   boundary   up                                          down
//   ether      device → Ethernet, or IP where there is none  frames → device
//   ip         Ethernet, other CPUs → IP                   IP → Ethernet
//   tcp        IP → TCP, UDP, ICMP, IGMP                   a call: TCP needs IP's answer, as a program does UDP's
//   socket     TCP, UDP → the program's sockets            the sockets' data and requests → TCP
import { Errno, KernelError } from '../base/errno.ts'

export const DISPATCH_POLICIES = ['direct', 'hybrid', 'deferred'] as const
export type DispatchPolicy = (typeof DISPATCH_POLICIES)[number]

export const DISPATCH_PROTOCOLS = ['ether', 'arp', 'ip', 'icmp', 'igmp', 'udp', 'tcp'] as const
export type DispatchProtocol = (typeof DISPATCH_PROTOCOLS)[number]

/** A policy for each protocol that is not to be `direct`. */
export type DispatchPolicies = { readonly [P in DispatchProtocol]?: DispatchPolicy }

/** From the wire up. */
export const LAYERS = ['ether', 'ip', 'tcp', 'socket'] as const
export type Layer = (typeof LAYERS)[number]

/** Packets that may wait in a queue before more are dropped: what Linux's devices and FreeBSD's queues have, or more. */
export const QUEUE_LIMIT = 1024
const QUEUE_LIMIT_MAX = 65_536

/** The protocols that a boundary is in front of. */
const BEHIND: { readonly [L in Layer]: readonly DispatchProtocol[] } = {
  ether: ['ether'],
  ip: ['ip'],
  tcp: ['icmp', 'igmp', 'udp', 'tcp'],
  socket: [],
}

/** What a host's configuration says of this, checked. */
export interface DispatchPlan {
  readonly policies: { readonly [P in DispatchProtocol]: DispatchPolicy }
  readonly layers: readonly Layer[]
  readonly queueLimit: number
}

/** The part of a host's configuration that this is. */
export interface DispatchConfig {
  readonly dispatch?: DispatchPolicies
  readonly layers?: readonly Layer[]
  readonly queueLimit?: number
}

/**
 * The policy of each protocol; of those behind a boundary that is a queue it is `deferred`.
 * @throws KernelError EINVAL, with a sentence that begins with the setting's name
 */
export function dispatchPlan({ dispatch = {}, layers = [], queueLimit = QUEUE_LIMIT }: DispatchConfig): DispatchPlan {
  for (const [protocol, policy] of Object.entries(dispatch)) {
    if (!isOneOf(DISPATCH_PROTOCOLS, protocol))
      throw unknown('dispatch names', 'protocol', protocol, DISPATCH_PROTOCOLS)
    if (!isOneOf(DISPATCH_POLICIES, policy)) {
      throw unknown(`dispatch of ${protocol} has`, 'policy', String(policy), DISPATCH_POLICIES)
    }
  }
  for (const layer of layers) if (!isOneOf(LAYERS, layer)) throw unknown('layers names', 'layer', String(layer), LAYERS)
  if (!(Number.isInteger(queueLimit) && queueLimit >= 1 && queueLimit <= QUEUE_LIMIT_MAX)) {
    throw new KernelError(Errno.EINVAL, `queueLimit is ${queueLimit}: give a whole number from 1 to ${QUEUE_LIMIT_MAX}`)
  }
  const policyOf = (protocol: DispatchProtocol): DispatchPolicy => {
    const layer = layers.find((each) => BEHIND[each].includes(protocol))
    const said = dispatch[protocol]
    if (layer === undefined) return said ?? 'direct'
    if (said === undefined || said === 'deferred') return 'deferred'
    const sentence = `dispatch of ${protocol} is "${said}", and the layer ${layer} makes it a queue: leave one of them out`
    throw new KernelError(Errno.EINVAL, sentence)
  }
  const policies = Object.fromEntries(DISPATCH_PROTOCOLS.map((protocol) => [protocol, policyOf(protocol)]))
  return {
    policies: policies as DispatchPlan['policies'],
    layers: LAYERS.filter((layer) => layers.includes(layer)),
    queueLimit,
  }
}

/**
 * Reads `deferred`, which is every protocol's policy, or `tcp=deferred,ip=hybrid`.
 * @throws KernelError EINVAL, with a sentence that begins with "dispatch"
 */
export function parseDispatch(text: string): DispatchPolicies {
  const all = isOneOf(DISPATCH_POLICIES, text) ? DISPATCH_PROTOCOLS.map((protocol) => [protocol, text]) : undefined
  const pairs = all ?? text.split(',').map((pair) => pair.split('='))
  if (pairs.some(({ length }) => length !== 2)) {
    const sentence = `dispatch is "${text}": give ${DISPATCH_POLICIES.join(', ')}, or policies of protocols, like tcp=deferred,ip=hybrid`
    throw new KernelError(Errno.EINVAL, sentence)
  }
  const dispatch: DispatchPolicies = Object.fromEntries(pairs)
  dispatchPlan({ dispatch })
  return dispatch
}

/**
 * Reads `ether,ip`, or `all`.
 * @throws KernelError EINVAL, with a sentence that begins with "layers"
 */
export function parseLayers(text: string): readonly Layer[] {
  if (text === 'all') return LAYERS
  return dispatchPlan({ layers: text.split(',') as Layer[] }).layers
}

function isOneOf<T extends string>(list: readonly T[], text: string): text is T {
  return (list as readonly string[]).includes(text)
}

function unknown(setting: string, noun: string, name: string, known: readonly string[]): KernelError {
  return new KernelError(Errno.EINVAL, `${setting} an unknown ${noun} "${name}": there are ${known.join(', ')}`)
}
