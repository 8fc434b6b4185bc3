// The options of a TCP socket (setsockopt) as far as the stack has them. Those of a listener are inherited by its connections.
import { congestionControlId } from '../../src/net/tcp/congestion/control.ts'
import type { TcpSocketOptions } from '../../src/stack.ts'
import type { Connection } from './connection.ts'
import { numberOf } from './constant.ts'
import type { OptionName } from './descriptor.ts'
import { Unsupported } from './error.ts'
import type { Value } from './script.ts'
import { lookUp } from './table.ts'

const LEVELS: { readonly [level: string]: string } = { IPPROTO_TCP: 'SOL_TCP', IPPROTO_IP: 'SOL_IP' }

export interface TcpSettings {
  noDelay: boolean
  cork: boolean
  keepAlive: boolean
  idleS: number
  intervalS: number
  count: number
  sendBytes: number
  receiveBytes: number
  userTimeoutMs: number
  trafficClass: number
  ttl: number
  /** SO_LINGER of 0 s: `close` is a reset. */
  lingers: boolean
  /** SO_REUSEPORT */
  isShared: boolean
  congestionControl: string
}

/** tcp(7), and packetdrill's sysctls. */
export function tcpSettings(given: {
  readonly sendBytes: number
  readonly receiveBytes: number
  readonly congestionControl: string
}): TcpSettings {
  return {
    ...{ noDelay: false, cork: false, keepAlive: false, idleS: 7200, intervalS: 75, count: 9 },
    ...{ sendBytes: given.sendBytes, receiveBytes: given.receiveBytes, congestionControl: given.congestionControl },
    ...{ userTimeoutMs: 0, trafficClass: 0, ttl: 0, lingers: false, isShared: false },
  }
}

/** `SOL_TCP TCP_NODELAY`, whichever of its names the level has. */
export function optionKey({ level, name }: OptionName): string {
  return `${lookUp(LEVELS, level) ?? level} ${name}`
}

/** Sets what was asked for, in the settings and for the connection that there may be. @throws Unsupported */
export function setTcpOption(
  settings: TcpSettings,
  connection: Connection | undefined,
  option: OptionName,
  value: Value,
): void {
  const { line } = option
  const first = value.kind === 'list' ? value.items[0] : value
  const number = () => numberOf(first, line, option.name)
  const socket = connection?.socket
  switch (optionKey(option)) {
    case 'SOL_SOCKET SO_REUSEADDR':
      // On a host that is new for each script no port is in TIME-WAIT.
      break
    case 'SOL_SOCKET SO_REUSEPORT':
      settings.isShared = number() !== 0
      break
    case 'SOL_SOCKET SO_SNDBUF':
      settings.sendBytes = number()
      socket?.setBuffers(settings.sendBytes, 0)
      break
    case 'SOL_SOCKET SO_RCVBUF':
      settings.receiveBytes = number()
      socket?.setBuffers(0, settings.receiveBytes)
      break
    case 'SOL_SOCKET SO_LINGER': {
      if (value.kind !== 'record') throw new Unsupported(line, 'SO_LINGER has to be {onoff=…, linger=…}')
      const isOn = numberOf(value.fields.get('onoff'), line, 'onoff') !== 0
      if (isOn && numberOf(value.fields.get('linger'), line, 'linger') !== 0) {
        throw new Unsupported(line, 'SO_LINGER is supported with a time of 0 only')
      }
      settings.lingers = isOn
      break
    }
    case 'SOL_SOCKET SO_KEEPALIVE':
      settings.keepAlive = number() !== 0
      setKeepAlive(settings, connection)
      break
    case 'SOL_TCP TCP_KEEPIDLE':
      settings.idleS = number()
      setKeepAlive(settings, connection)
      break
    case 'SOL_TCP TCP_KEEPINTVL':
      settings.intervalS = number()
      setKeepAlive(settings, connection)
      break
    case 'SOL_TCP TCP_KEEPCNT':
      settings.count = number()
      setKeepAlive(settings, connection)
      break
    case 'SOL_TCP TCP_NODELAY':
      settings.noDelay = number() !== 0
      socket?.setNoDelay(settings.noDelay)
      break
    case 'SOL_TCP TCP_CORK':
      settings.cork = number() !== 0
      socket?.setCork(settings.cork)
      break
    case 'SOL_TCP TCP_USER_TIMEOUT':
      settings.userTimeoutMs = number()
      socket?.setUserTimeout(settings.userTimeoutMs)
      break
    case 'SOL_TCP TCP_CONGESTION':
      settings.congestionControl = nameOf(first, line)
      if (connection?.isConnected === true) setCongestionControl(settings, connection)
      break
    case 'SOL_IP IP_TOS':
      settings.trafficClass = number()
      socket?.setTrafficClass(settings.trafficClass)
      break
    case 'SOL_IP IP_TTL':
      settings.ttl = number()
      socket?.setTtl(settings.ttl)
      break
    default:
      throw new Unsupported(line, `setsockopt ${option.name} is not supported`)
  }
}

/** What a connection or a listener is made with. */
export function creationOptions(settings: TcpSettings): TcpSocketOptions {
  const { noDelay, sendBytes, receiveBytes, userTimeoutMs, trafficClass, ttl } = settings
  return { noDelay, sendBytes, receiveBytes, userTimeoutMs, trafficClass, ...(ttl === 0 ? {} : { ttl }) }
}

/** What is set only when there is a connection. */
export function applyToConnection(settings: TcpSettings, connection: Connection): void {
  const { socket } = connection
  if (settings.cork) socket.setCork(true)
  if (settings.userTimeoutMs > 0) socket.setUserTimeout(settings.userTimeoutMs)
  if (settings.keepAlive) setKeepAlive(settings, connection)
  if (connection.isConnected) setCongestionControl(settings, connection)
}

/** A connection's algorithm is in its PCB: the stack has no call for it. */
export function setCongestionControl({ congestionControl }: TcpSettings, connection: Connection): void {
  connection.pcb.congestionControl = congestionControlId(congestionControl)
}

function setKeepAlive(settings: TcpSettings, connection: Connection | undefined): void {
  const { keepAlive, idleS, intervalS, count } = settings
  connection?.socket.setKeepAlive(keepAlive ? idleS * 1000 : 0, intervalS * 1000, count)
}

function nameOf(value: Value | undefined, line: number): string {
  const name = value?.kind === 'string' ? value.text : ''
  const own = name === 'reno' ? 'newreno' : name
  if (congestionControlId(own) < 0) throw new Unsupported(line, `the congestion control "${name}" is not supported`)
  return own
}
