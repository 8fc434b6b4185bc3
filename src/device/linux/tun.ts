// TUN and TAP devices of Linux (Documentation/networking/tuntap.rst): what the kernel sends to the interface is read from
// a descriptor, one packet (TUN) or frame (TAP) each time, and what is written there the kernel receives. Several
// queues share the flows; each is one descriptor, for one CPU. Called at boot; packets go by `Libc.read` and `write`.
import { Errno, KernelError } from '../../base/errno.ts'
import { checkInterfaceName, InterfaceRequest } from './interface.ts'
import { type Libc, libc } from './library.ts'

const DEVICE = '/dev/net/tun'
const O_RDWR = 0o2
const O_NONBLOCK = 0o4000
const O_CLOEXEC = 0o2000000

const TUNSETIFF = 0x400454ca
const TUNSETOFFLOAD = 0x400454d0

const IFF_TUN = 0x0001
const IFF_TAP = 0x0002
const IFF_MULTI_QUEUE = 0x0100
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000

/** Linux's own limit (MAX_TAP_QUEUES). */
const QUEUES_MAX = 256

/** With `vnetHeader`, struct virtio_net_hdr stands before each packet, both ways. */
export const VNET_HEADER_BYTES = 10

/** What the kernel may leave to us, in packets that carry a virtio_net_hdr: bits (linux/if_tun.h, TUN_F_*). */
export const Offload = {
  /** Packets whose checksum is not there yet. Needed for the others. */
  checksum: 0x01,
  /** TCP super-segments, of up to 64 KiB. */
  tcp4: 0x02,
  tcp6: 0x04,
  udp4: 0x20,
  udp6: 0x40,
} as const

/** What a `TunQueue` with `vnetHeader` takes. Of super-segments of IPv6, and of UDP, it knows nothing. */
export const HOST_OFFLOAD = Offload.checksum | Offload.tcp4

export type TunKind = 'tun' | 'tap'

export interface TunOptions {
  /** `'df0'`, or a pattern such as `'df%d'`: then the kernel takes the first number that is free. */
  readonly name: string
  /** `'tun'`: IP packets; `'tap'`: Ethernet frames. */
  readonly kind: TunKind
  /** Descriptors: 1 to 256. The kernel sends a flow always to the same one. */
  readonly queues: number
  /** Packets carry a virtio_net_hdr, of `VNET_HEADER_BYTES`, and the kernel may leave to us what `HOST_OFFLOAD` says. */
  readonly vnetHeader?: boolean
}

export interface TunHandle {
  /** As the kernel has it. */
  readonly name: string
  readonly kind: TunKind
  readonly vnetHeader: boolean
  /** One for each queue. Reading and writing never blocks, and they are not inherited. */
  readonly descriptors: readonly number[]
  /** Closes the descriptors; the kernel then removes the device, unless it was made to stay. Once is enough, twice harmless. */
  close(): void
}

/**
 * Opens, or creates, a device in the thread's network namespace.
 * @throws KernelError EINVAL for options that cannot be, or a device that exists and is another kind; ENODEV without
 *   /dev/net/tun; EACCES, EPERM; EBUSY; and those of `libc`. Nothing stays open then.
 */
export function openTun(options: TunOptions, system?: Libc): TunHandle {
  check(options)
  return open(options, system ?? libc())
}

/**
 * Tells the kernel what else it may leave to us: bits of `Offload`, in the place of those that `openTun` has set. For the
 * whole device, which has `vnetHeader`.
 * @throws KernelError EINVAL where this Linux does not know one of them
 */
export function setOffload(descriptor: number, offload: number, system: Libc = libc()): void {
  const result = system.ioctl(descriptor, TUNSETOFFLOAD, offload)
  if (result >= 0) return
  const sentence = `the TUN device does not take the offloads 0x${offload.toString(16)}: ask for fewer (Offload.checksum, tcp4 and tcp6 are the oldest)`
  throw new KernelError(-result, sentence, 'ioctl')
}

function check(options: TunOptions): void {
  // The pattern's number has one digit at least: what is checked is the shortest name it can make.
  checkInterfaceName(options.name.replace('%d', '0'))
  if (/%/.test(options.name.replace('%d', ''))) {
    const sentence = `${JSON.stringify(options.name)} is not a pattern: give one %d for the kernel's number, such as df%d`
    throw new KernelError(Errno.EINVAL, sentence)
  }
  if (!(Number.isInteger(options.queues) && options.queues >= 1 && options.queues <= QUEUES_MAX)) {
    throw new KernelError(Errno.EINVAL, `a TUN device has 1 to ${QUEUES_MAX} queues, and not ${options.queues}`)
  }
}

function open(options: TunOptions, system: Libc): TunHandle {
  const { kind, queues, vnetHeader = false } = options
  let name = options.name
  let descriptors: number[] = []
  const close = () => {
    // Forgotten first: a number that was closed may belong to another file a moment later.
    const all = descriptors
    descriptors = []
    for (const descriptor of all) system.close(descriptor)
  }
  try {
    for (let queue = 0; queue < queues; queue++) {
      const descriptor = system.open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC)
      if (descriptor < 0) throw openFailure(-descriptor)
      descriptors.push(descriptor)
      // The first queue has the kernel fill in the pattern; the others join it by its name.
      name = attach(descriptor, name, options, system)
    }
    if (vnetHeader) setOffload(descriptors[0]!, HOST_OFFLOAD, system)
  } catch (error) {
    close()
    throw error
  }
  return { name, kind, vnetHeader, descriptors: Object.freeze([...descriptors]), close }
}

function attach(descriptor: number, name: string, options: TunOptions, system: Libc): string {
  const record = new InterfaceRequest(name)
  record.flags =
    (options.kind === 'tun' ? IFF_TUN : IFF_TAP) |
    IFF_NO_PI |
    (options.queues > 1 ? IFF_MULTI_QUEUE : 0) |
    (options.vnetHeader ? IFF_VNET_HDR : 0)
  const result = system.ioctl(descriptor, TUNSETIFF, system.pointer(record.bytes))
  if (result < 0) throw attachFailure(-result, name, options)
  return record.name
}

function openFailure(errno: number): KernelError {
  return new KernelError(
    errno === Errno.ENOENT || errno === Errno.ENXIO ? Errno.ENODEV : errno,
    whyNotOpen(errno),
    'open',
  )
}

function whyNotOpen(errno: number): string {
  switch (errno) {
    case Errno.ENOENT:
    case Errno.ENODEV:
    case Errno.ENXIO:
      return `${DEVICE} does not exist: load the tun module (sudo modprobe tun), or start the container with --device ${DEVICE}`
    case Errno.EACCES:
    case Errno.EPERM:
      return `this user may not open ${DEVICE}: run as root, or let users open it (sudo chmod 666 ${DEVICE}), as most distributions do`
    default:
      return `${DEVICE} cannot be opened: errno ${errno}`
  }
}

function attachFailure(errno: number, name: string, options: TunOptions): KernelError {
  const make = `sudo ip tuntap add dev ${name} mode ${options.kind} user $USER${options.queues > 1 ? ' multi_queue' : ''}${options.vnetHeader ? ' vnet_hdr' : ''}`
  return new KernelError(errno, whyNotAttached(errno, name, options, make), 'ioctl')
}

function whyNotAttached(errno: number, name: string, { kind, queues }: TunOptions, make: string): string {
  switch (errno) {
    case Errno.EPERM:
    case Errno.EACCES:
      return `this user may not make or open the device ${name}: run as root, or allow it (sudo setcap cap_net_admin+ep ${process.execPath}), or make a device that stays for this user (${make})`
    case Errno.EBUSY:
      return `the device ${name} is in use by another process, or already open here: end that, or take another name`
    case Errno.EINVAL:
      return `the interface ${name} exists, and is not a ${kind} device ${queues > 1 ? 'of several queues' : 'of one queue'}: take another name, or remove it and make it anew (${make})`
    default:
      return `the device ${name} cannot be made: errno ${errno}`
  }
}
