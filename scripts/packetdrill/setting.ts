// What a script sets up: the options of packetdrill (`--mtu=1500`), and the commands between backquotes as far as they set what the stack
// has a setting for. No command is ever run.
import { Unsupported } from './error.ts'
import type { Option } from './script.ts'
import { lookUp } from './table.ts'

export interface Settings {
  localAddress: string
  remoteAddress: string
  /** The next router: where all is sent that is for the remote. */
  gateway: string
  prefixLength: number
  mtu: number
  /** The port that a bind without one gets, and the remote one of a connect without one. */
  bindPort: number
  connectPort: number
  toleranceUs: number
  tolerancePercent: number
  /** What a step of outbound timestamps is, µs; 0: they are not compared. */
  timestampTickUs: number
  /** Inbound echoes need not be of a timestamp that was seen. */
  timestampEchoScaled: boolean
  /** One expected segment is one segment, also when it is large. */
  strictSegments: boolean
  /** Ask for ECN. */
  ecn: boolean
  congestionControl: string
  /** Buffers of connections; 0: the stack's own. */
  sendBytes: number
  receiveBytes: number
}

/** packetdrill's own defaults, but for the local address, of which it has a range. */
export function defaultSettings(): Settings {
  return {
    localAddress: '192.168.0.2',
    remoteAddress: '192.0.2.1',
    gateway: '192.168.0.1',
    prefixLength: 16,
    mtu: 1500,
    bindPort: 8080,
    connectPort: 8080,
    toleranceUs: 4000,
    tolerancePercent: 12.5,
    timestampTickUs: 0,
    timestampEchoScaled: false,
    strictSegments: false,
    ecn: false,
    congestionControl: 'cubic',
    sendBytes: 0,
    receiveBytes: 0,
  }
}

/** @throws Unsupported */
export function applyOption(settings: Settings, { name, value, line }: Option): void {
  const number = (least: number, most: number): number => {
    const given = Number(value)
    if (value !== '' && given >= least && given <= most) return given
    throw new Unsupported(line, `--${name}=${value}: a number from ${least} to ${most} is supported`)
  }
  switch (name) {
    case 'local_ip':
      settings.localAddress = address(name, value, line)
      break
    case 'remote_ip':
      settings.remoteAddress = address(name, value, line)
      break
    case 'gateway_ip':
      settings.gateway = address(name, value, line)
      break
    case 'netmask_ip':
      settings.prefixLength = prefixLength(address(name, value, line), line)
      break
    case 'mtu':
      settings.mtu = number(576, 65535)
      break
    case 'bind_port':
      settings.bindPort = number(1, 65535)
      break
    case 'connect_port':
      settings.connectPort = number(1, 65535)
      break
    case 'tolerance_usecs':
      settings.toleranceUs = number(0, 1e9)
      break
    case 'tolerance_percent':
      settings.tolerancePercent = number(0, 100)
      break
    case 'tcp_ts_tick_usecs':
      settings.timestampTickUs = number(0, 1e6)
      break
    case 'tcp_ts_ecr_scaled':
      settings.timestampEchoScaled = true
      break
    case 'strict_segments':
      settings.strictSegments = true
      break
    case 'ip_version':
      if (value !== 'ipv4') throw new Unsupported(line, `--ip_version=${value}: only ipv4 is supported`)
      break
    // How packetdrill itself goes about it, and not what the script says.
    case 'mss':
    case 'speed':
    case 'verbose':
    case 'debug':
    case 'code_command':
    case 'code_format':
    case 'code_sockopt':
    case 'send_omit_free':
      break
    default:
      throw new Unsupported(line, `--${name} is not supported`)
  }
}

function address(name: string, value: string, line: number): string {
  const parts = value.replace(/\/\d+$/, '')
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(parts)) return parts
  throw new Unsupported(line, `--${name}=${value}: only IPv4 addresses are supported`)
}

function prefixLength(mask: string, line: number): number {
  const bits = mask
    .split('.')
    .map((byte) => Number(byte).toString(2).padStart(8, '0'))
    .join('')
  if (!/^1*0*$/.test(bits)) throw new Unsupported(line, `--netmask_ip=${mask} is no mask`)
  return bits.lastIndexOf('1') + 1
}

/** Whether the value can be had; where there is something to set, it sets it. */
type Sysctl = (value: string, settings: Settings) => boolean

const always = (...values: readonly string[]): Sysctl => {
  return (value) => values.includes(value)
}

/** The middle one of `min default max`. */
const buffer = (field: 'sendBytes' | 'receiveBytes'): Sysctl => {
  return (value, settings) => {
    const bytes = Number(value.trim().split(/\s+/)[1])
    if (!(bytes > 0)) return false
    settings[field] = bytes
    return true
  }
}

/** By their name without `net.ipv4.`: those that the stack can follow, or that say what it does anyway. */
const SYSCTLS: { readonly [name: string]: Sysctl } = {
  // 0 and 2 differ in what is granted: the stack always grants.
  tcp_ecn: (value, settings) => {
    settings.ecn = value === '1'
    return ['0', '1', '2'].includes(value)
  },
  tcp_congestion_control: (value, settings) => {
    const name = lookUp({ cubic: 'cubic', reno: 'newreno' }, value)
    settings.congestionControl = name ?? settings.congestionControl
    return name !== undefined
  },
  tcp_wmem: buffer('sendBytes'),
  tcp_rmem: buffer('receiveBytes'),
  tcp_timestamps: always('1'),
  tcp_sack: always('1'),
  tcp_dsack: always('1'),
  tcp_window_scaling: always('1'),
  // RACK and the tail loss probe (RFC 8985), in Linux's two switches.
  tcp_recovery: always('1'),
  tcp_early_retrans: always('3', '4'),
  tcp_syncookies: always('0', '1'),
  tcp_no_metrics_save: always('1'),
  tcp_reordering: always('3'),
  tcp_slow_start_after_idle: always('1'),
  tcp_abort_on_overflow: always('0'),
  tcp_fin_timeout: always('60'),
  // Of a card that cuts segments: there is none.
  tcp_min_tso_segs: () => true,
  tcp_tso_win_divisor: () => true,
  tcp_limit_output_bytes: () => true,
}

/** packetdrill's collection of scripts begins with this: SACK, RACK, cubic, no ECN, which is how the stack is. */
const DEFAULTS = /(^|\/)common\/defaults\.sh$/
/** What changes nothing on a host that is new for each script. */
const HARMLESS = [/^ip (-\d )?tcp_metrics flush( all)?$/, /^\/tmp\/sysctl_restore_\S+$/, /^true$/, /^sleep 0$/] as const

/**
 * Follows the commands of a script, one a line or several with `;` or `&&` between them.
 * @throws Unsupported where one is more than a setting that the stack has
 */
export function applyCommand(settings: Settings, text: string, line: number): void {
  const commands = text
    .replace(/\\\n/g, ' ')
    .split(/\n|;|&&/)
    .map((command) =>
      command
        .replace(/\d?&?>+\s*(\/dev\/null|&\d)/g, '')
        .replace(/#.*/, '')
        .replace(/\s+/g, ' ')
        .trim(),
    )
    .filter((command) => command !== '')
  for (const command of commands) applyOne(settings, command, line)
}

function applyOne(settings: Settings, command: string, line: number): void {
  if (DEFAULTS.test(command) || HARMLESS.some((pattern) => pattern.test(command))) return
  const [, values] = /^(?:sysctl(?: -\w+)*|\S*set_sysctls\.py) (.*)$/.exec(command) ?? []
  if (values === undefined) throw new Unsupported(line, `the command is not supported: ${command}`)
  const pairs = [...values.matchAll(/([\w./]+)=("[^"]*"|\S+)/g)]
  if (pairs.length === 0) throw new Unsupported(line, `the command is not supported: ${command}`)
  for (const [, path = '', quoted = ''] of pairs) {
    const name = path.replace(/^\/proc\/sys\/|^/, '').replaceAll('/', '.')
    const value = quoted.replace(/^"(.*)"$/, '$1')
    const sysctl = lookUp(SYSCTLS, name.replace(/^net\.ipv4\./, ''))
    if (sysctl === undefined) throw new Unsupported(line, `the sysctl ${name} is not supported`)
    if (!sysctl(value, settings)) throw new Unsupported(line, `the sysctl ${name} is not supported with ${value}`)
  }
}
