// What `import … from 'damselfly'` gives: hosts and networks for programs, and below them the stack itself.

export { type Chain, chainText, type Frame, type Hop, type HopKind } from '../kernel/trace/chain.ts'
export type { TraceMode } from '../kernel/trace/mode.ts'
export { DISCIPLINES, type Discipline } from '../net/discipline.ts'
export {
  type Endpoint,
  formatEndpoint,
  type HostConfig,
  type InterfaceConfig,
  Mbuf,
  type MbufCursor,
  Mbufs,
  type RouteConfig,
  Stack,
  type TcpConnectOptions,
  type TcpListener,
  type TcpListenOptions,
  type TcpSocket,
  type UdpMembership,
  type UdpMembershipDone,
  UdpSocket,
  type UdpSocketOptions,
} from '../stack.ts'
export { createHost, createNetwork, type Host, type HostOptions, type TunLink } from './host.ts'
export type { Network, NetworkOptions } from './network.ts'
