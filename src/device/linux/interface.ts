// The kernel's end of a TUN or TAP device: its address, MTU and flags, by ioctl (netdevice(7)), so that nobody needs to
// call ip(8). Meant for interfaces that this program created: one that is not TUN or TAP is refused, so that a
// wrong name never gives the host's own interface another address.
import { Errno, KernelError } from '../../base/errno.ts'
import { type Libc, libc } from './library.ts'

const AF_INET = 2
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000

const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCSIFADDR = 0x8916
const SIOCSIFNETMASK = 0x891c
const SIOCGIFMTU = 0x8921
const SIOCSIFMTU = 0x8922
const SIOCSIFTXQLEN = 0x8943
const SIOCGIFHWADDR = 0x8927
const SIOCETHTOOL = 0x8946
const ETHTOOL_GDRVINFO = 3
const DRIVER_INFO_BYTES = 196

const IFF_UP = 0x1

/** For devices of ours. */
export const QUEUE_LENGTH = 2048

/** Linux's longest name, without the 0 after it. */
const NAME_CHARACTERS = 15

/** struct ifreq (netdevice(7)): the name, then what the request is about. All in host order but the address. */
const Ifreq = {
  size: 40,
  /** char ifr_name[16] */
  name: 0,
  /** short ifr_flags; int ifr_mtu; struct sockaddr ifr_addr: u16 family, and then */
  value: 16,
  /** sockaddr_in: be16 port, 4 bytes of address; sockaddr of hardware: 6 bytes of address */
  internetAddress: 20,
  hardwareAddress: 18,
} as const

/** An ifreq in memory that stays where it is: one for each sequence of requests, never one per packet. */
export class InterfaceRequest {
  readonly bytes = new Uint8Array(new ArrayBuffer(Ifreq.size))
  readonly view = new DataView(this.bytes.buffer)

  /** @param name of a checked length */
  constructor(name: string) {
    this.bytes.set(new TextEncoder().encode(name), Ifreq.name)
  }

  /** As the kernel filled it in. */
  get name(): string {
    const end = this.bytes.indexOf(0)
    return new TextDecoder().decode(this.bytes.subarray(0, end))
  }

  get flags(): number {
    return this.view.getUint16(Ifreq.value, true)
  }

  set flags(flags: number) {
    this.view.setUint16(Ifreq.value, flags, true)
  }

  get mtu(): number {
    return this.view.getInt32(Ifreq.value, true)
  }

  set queueLength(packets: number) {
    this.view.setInt32(Ifreq.value, packets, true)
  }

  set mtu(mtu: number) {
    this.view.setInt32(Ifreq.value, mtu, true)
  }

  get hardwareAddress(): Uint8Array {
    return this.bytes.slice(Ifreq.hardwareAddress, Ifreq.hardwareAddress + 6)
  }

  set internetAddress(address: number) {
    this.bytes.fill(0, Ifreq.value)
    this.view.setUint16(Ifreq.value, AF_INET, true)
    this.view.setUint32(Ifreq.internetAddress, address)
  }

  set pointer(pointer: number) {
    this.view.setBigUint64(Ifreq.value, BigInt(pointer), true)
  }
}

/**
 * Answers when Linux takes `name` for an interface.
 * @throws KernelError EINVAL
 */
export function checkInterfaceName(name: string): void {
  if (/^[!-~]{1,15}$/.test(name) && !/[/:]/.test(name) && name !== '.' && name !== '..') return
  const sentence = `${JSON.stringify(name)} is not the name of an interface: give 1 to ${NAME_CHARACTERS} characters without '/', ':' and white space, such as df0`
  throw new KernelError(Errno.EINVAL, sentence)
}

/** An IPv4 address with the length of its network's prefix. */
export interface InterfaceAddress {
  readonly address: number
  readonly mask: number
}

/**
 * `'10.77.0.1/24'`.
 * @throws KernelError EINVAL
 */
export function parseInterfaceAddress(text: string): InterfaceAddress {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text)
  const [a = 256, b = 256, c = 256, d = 256, length = 33] = match?.slice(1).map(Number) ?? []
  if (Math.max(a, b, c, d) > 255 || length > 32) {
    const sentence = `${JSON.stringify(text)} is not an IPv4 address with its prefix: give one such as 10.77.0.1/24`
    throw new KernelError(Errno.EINVAL, sentence)
  }
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0
  return { address: a * 0x1000000 + b * 0x10000 + c * 0x100 + d, mask }
}

export interface InterfaceOptions {
  /** The kernel's own IPv4 address and its prefix: `'10.77.0.1/24'`. */
  readonly address?: string
  /** In bytes. */
  readonly mtu?: number
  /**
   * Packets that the kernel keeps for us. Its default, 500, is less than 200 connections that begin at once send: what is lost then
   * comes again after a second.
   */
  readonly queueLength?: number
  readonly up?: boolean
}

/**
 * Sets what is given, in the order MTU, address, up. For TUN and TAP devices in the thread's network namespace.
 * @throws KernelError EINVAL for a name, address or MTU that cannot be; EPERM; ENODEV; EOPNOTSUPP where the interface is
 *   no TUN or TAP device; and those of `libc`
 */
export function configureInterface(name: string, options: InterfaceOptions, system?: Libc): void {
  checkInterfaceName(name)
  const { mtu, queueLength, address: text, up } = options
  const address = text === undefined ? undefined : parseInterfaceAddress(text)
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu > 0 && mtu <= 65535)) {
    throw new KernelError(Errno.EINVAL, `an MTU is 68 to 65535 bytes, and not ${mtu}`)
  }
  request(name, system, (ioctl, record, calls) => {
    refuseOthers(name, ioctl, record, calls)
    if (mtu !== undefined) {
      record.mtu = mtu
      ioctl(SIOCSIFMTU, `set the MTU to ${mtu}`)
    }
    if (queueLength !== undefined) {
      record.queueLength = queueLength
      ioctl(SIOCSIFTXQLEN, `set the length of its queue to ${queueLength}`)
    }
    if (address !== undefined) {
      record.internetAddress = address.address
      ioctl(SIOCSIFADDR, `set the address ${text}`)
      record.internetAddress = address.mask
      ioctl(SIOCSIFNETMASK, `set the network of ${text}`)
    }
    if (up !== undefined) {
      ioctl(SIOCGIFFLAGS, 'read the flags')
      record.flags = up ? record.flags | IFF_UP : record.flags & ~IFF_UP
      ioctl(SIOCSIFFLAGS, up ? 'bring it up' : 'take it down')
    }
  })
}

/**
 * In bytes.
 * @throws KernelError EINVAL, ENODEV, and those of `libc`
 */
export function interfaceMtu(name: string, system?: Libc): number {
  checkInterfaceName(name)
  return request(name, system, (ioctl, record) => {
    ioctl(SIOCGIFMTU, 'read the MTU')
    return record.mtu
  })
}

/**
 * The kernel's own Ethernet address on a TAP device: 6 bytes. A TUN device has none: all 0.
 * @throws KernelError EINVAL, ENODEV, and those of `libc`
 */
export function interfaceHardwareAddress(name: string, system?: Libc): Uint8Array {
  checkInterfaceName(name)
  return request(name, system, (ioctl, record) => {
    ioctl(SIOCGIFHWADDR, 'read the hardware address')
    return record.hardwareAddress
  })
}

/** Asks for one thing, whose name a sentence can say. */
type Ioctl = (number: number, purpose: string) => void

/** Any socket will do for these requests; this one lives as long as they do. */
function request<Result>(
  name: string,
  system: Libc = libc(),
  body: (ioctl: Ioctl, record: InterfaceRequest, system: Libc) => Result,
): Result {
  const descriptor = system.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (descriptor < 0) throw new KernelError(-descriptor, 'the operating system gives no socket', 'socket')
  const record = new InterfaceRequest(name)
  const pointer = system.pointer(record.bytes)
  const ioctl: Ioctl = (number, purpose) => {
    const result = system.ioctl(descriptor, number, pointer)
    if (result < 0) throw failure(-result, name, purpose)
  }
  try {
    return body(ioctl, record, system)
  } finally {
    system.close(descriptor)
  }
}

/** The name of the driver tells who made an interface: "tun" for TUN and TAP. */
function refuseOthers(name: string, ioctl: Ioctl, record: InterfaceRequest, system: Libc): void {
  ioctl(SIOCGIFFLAGS, 'find it')
  const driver = new Uint8Array(new ArrayBuffer(DRIVER_INFO_BYTES))
  new DataView(driver.buffer).setUint32(0, ETHTOOL_GDRVINFO, true)
  record.pointer = system.pointer(driver)
  const sentence = `${name} is no TUN or TAP device: it is left alone`
  try {
    ioctl(SIOCETHTOOL, 'ask for its driver')
  } catch (cause) {
    throw new KernelError(Errno.EOPNOTSUPP, sentence, 'ioctl', { cause })
  }
  if (new TextDecoder().decode(driver.subarray(4, 8)) !== 'tun\0') {
    throw new KernelError(Errno.EOPNOTSUPP, sentence, 'ioctl')
  }
}

function failure(errno: number, name: string, purpose: string): KernelError {
  return new KernelError(errno, `${name}: cannot ${purpose}: ${reason(errno, name)}`, 'ioctl')
}

function reason(errno: number, name: string): string {
  switch (errno) {
    case Errno.EPERM:
    case Errno.EACCES:
      return `run as root, or allow it (sudo setcap cap_net_admin+ep ${process.execPath}), or do it by hand (sudo ip address add ADDRESS dev ${name}; sudo ip link set ${name} up)`
    case Errno.ENODEV:
      return 'there is no interface of this name in this network namespace'
    case Errno.EINVAL:
      return 'the device does not take this value'
    default:
      return `errno ${errno}`
  }
}
