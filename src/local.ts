// Local sockets, usable without a network: `import { LocalSockets } from 'damselfly/local'`, beside 'damselfly/kernel'.

export type { Chain, Frame, Hop } from './kernel/trace/chain.ts'
export { LocalCounters } from './socket/local/counters.ts'
export type { LocalDatagram, LocalDatagramOptions } from './socket/local/datagram.ts'
export { LOCAL_KINDS, type LocalCredentials, type LocalKind, type LocalOptions } from './socket/local/kind.ts'
export type { LocalListener, LocalListenOptions } from './socket/local/listener.ts'
export { type LocalMessage, LocalPort, type LocalRight, type LocalSendOptions } from './socket/local/right.ts'
export { LocalSocket } from './socket/local/socket.ts'
export { type LocalConnectOptions, LocalSockets, type LocalSocketsOptions } from './socket/local/sockets.ts'
