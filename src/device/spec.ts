// Devices as plain data: what a configuration says, what a worker thread is handed, and what each CPU opens its own queue
// from. Everything here can be written as JSON.
import { Errno, KernelError } from '../base/errno.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { CaptureQueue, type CaptureQueueOptions } from './capture.ts'
import type { DeviceInfo, DeviceQueue, Steer } from './device.ts'
import { type FaultOptions, FaultQueue, faultInfo } from './fault.ts'
import { type HubPortOptions, HubQueue, hubInfo } from './hub.ts'
import { checkInterfaceName } from './linux/interface.ts'
import { type LoadOptions, loadInfo } from './load/options.ts'
import { LoadQueue } from './load/queue.ts'
import { loadRegions } from './load/region.ts'
import { type LoopbackOptions, LoopbackQueue, loopbackInfo } from './loopback.ts'
import { type ReplayOptions, ReplayQueue, replayInfo } from './replay.ts'
import { TunQueue, type TunQueueOptions, tunInfo } from './tun.ts'
import { type WireOptions, WireQueue, type WireSide, wireInfo, wireRegions } from './wire.ts'

/** One end of a wire; both ends are given the same options. */
export interface WireSpec {
  readonly kind: 'wire'
  readonly wire: WireOptions
  readonly side: WireSide
}
export interface LoopbackSpec extends LoopbackOptions {
  readonly kind: 'loopback'
}
/** A TUN or TAP device that the main thread has opened. */
export interface TunSpec extends TunQueueOptions {
  readonly kind: 'tun' | 'tap'
}
/** `speed` cannot be Infinity in JSON: 'fastest' is. */
export interface ReplaySpec extends Omit<ReplayOptions, 'speed'> {
  readonly kind: 'replay'
  readonly speed?: number | 'fastest'
}
/** Another device, over a bad link. */
export interface FaultSpec extends FaultOptions {
  readonly kind: 'fault'
  readonly of: DeviceSpec
}
/** Another device, and a file of what passes it. */
export interface CaptureSpec extends CaptureQueueOptions {
  readonly kind: 'capture'
  readonly of: DeviceSpec
}
/** A port of a hub, for one of several hosts on the CPUs of one thread. */
export interface HubSpec extends HubPortOptions {
  readonly kind: 'hub'
}
/** All the clients of a server, for the laboratory. */
export interface LoadSpec extends LoadOptions {
  readonly kind: 'load'
}
export type DeviceSpec = WireSpec | HubSpec | LoopbackSpec | TunSpec | ReplaySpec | LoadSpec | FaultSpec | CaptureSpec

/**
 * Opens this CPU's queue of a device, or gives undefined where it has none.
 * @param steer the flow hash of a frame, where the device chooses among several queues
 * @param kick schedules the CPU, where it is on an event loop: see `awaitDescriptor`
 * @throws KernelError where the specification cannot be, or what it names cannot be had
 */
export function openQueue(cpu: Cpu, spec: DeviceSpec, steer?: Steer, kick?: () => void): DeviceQueue | undefined {
  if (!cpusOf(spec).includes(cpu.index)) return undefined
  switch (spec.kind) {
    case 'wire':
      return new WireQueue(cpu, spec.wire, spec.side, steer)
    case 'hub':
      return new HubQueue(cpu, spec)
    case 'loopback':
      return new LoopbackQueue(cpu, spec)
    case 'tun':
    case 'tap':
      return new TunQueue(cpu, spec, kick)
    case 'replay':
      return new ReplayQueue(cpu, replayOptions(spec), steer)
    case 'load':
      return new LoadQueue(cpu, spec, steer)
    case 'fault':
      return new FaultQueue(cpu, openQueue(cpu, spec.of, steer, kick)!, spec)
    case 'capture':
      return new CaptureQueue(cpu, openQueue(cpu, spec.of, steer, kick)!, spec)
  }
}

/**
 * How a device appears, without opening it.
 * @throws KernelError as `openQueue`
 */
export function deviceInfo(spec: DeviceSpec): DeviceInfo {
  switch (spec.kind) {
    case 'wire':
      return wireInfo(spec.wire, spec.side)
    case 'hub':
      return hubInfo(spec)
    case 'loopback':
      return loopbackInfo(spec)
    case 'tun':
    case 'tap':
      return tunInfo(spec)
    case 'replay':
      return replayInfo(replayOptions(spec))
    case 'load':
      return loadInfo(spec)
    case 'fault':
      return faultInfo(deviceInfo(spec.of))
    case 'capture':
      return deviceInfo(spec.of)
  }
}

/** The regions of memory to boot with, so that these devices can be opened. */
export function deviceRegions(specs: readonly DeviceSpec[]): { readonly [name: string]: number } {
  const regions: { [name: string]: number } = {}
  for (const spec of specs) {
    if (spec.kind === 'wire') Object.assign(regions, wireRegions(spec.wire))
    else if (spec.kind === 'load') Object.assign(regions, loadRegions(spec))
    else if (spec.kind === 'fault' || spec.kind === 'capture') Object.assign(regions, deviceRegions([spec.of]))
  }
  return regions
}

/** What a device is called on a command line: enough to know which, not yet for which CPUs. */
export type DeviceName =
  | { readonly kind: 'tun' | 'tap'; readonly name: string }
  | { readonly kind: 'loopback' }
  | { readonly kind: 'wire'; readonly name: string }
  | { readonly kind: 'replay'; readonly path: string }

const FORMS = 'tun:df0, tap:df1, loopback, wire, wire:name or pcap:file.pcap'

/**
 * `'tun:df0'`, `'tap:df1'`, `'loopback'`, `'wire'`, `'wire:name'`, `'pcap:file.pcap'`.
 * @throws KernelError EINVAL, with a sentence that says what is expected
 */
export function parseDevice(text: string): DeviceName {
  const colon = text.indexOf(':')
  const kind = colon < 0 ? text : text.slice(0, colon)
  const rest = colon < 0 ? undefined : text.slice(colon + 1)
  switch (kind) {
    case 'tun':
    case 'tap':
      if (rest === undefined || rest === '') throw refusal(text, `give the name of its interface, such as ${kind}:df0`)
      // A pattern's number has one digit at least.
      checkInterfaceName(rest.replace('%d', '0'))
      return { kind, name: rest }
    case 'loopback':
      if (rest !== undefined) throw refusal(text, 'a loopback has no name: give loopback')
      return { kind }
    case 'wire':
      if (rest === '') throw refusal(text, 'give its name behind the colon, or wire alone')
      return { kind, name: rest ?? 'wire0' }
    case 'pcap':
      if (rest === undefined || rest === '')
        throw refusal(text, 'give the path of a capture file, such as pcap:file.pcap')
      return { kind: 'replay', path: rest }
    default:
      throw refusal(text, `expected ${FORMS}`)
  }
}

function refusal(text: string, sentence: string): KernelError {
  return new KernelError(Errno.EINVAL, `${JSON.stringify(text)} is not a device: ${sentence}`)
}

function cpusOf(spec: DeviceSpec): readonly number[] {
  switch (spec.kind) {
    case 'wire':
      return spec.side === 'a' ? spec.wire.a : spec.wire.b
    case 'hub':
      return [spec.cpu]
    case 'fault':
    case 'capture':
      return cpusOf(spec.of)
    default:
      return spec.cpus
  }
}

function replayOptions(spec: ReplaySpec): ReplayOptions {
  const { speed, ...rest } = spec
  if (speed === undefined) return rest
  return { ...rest, speed: speed === 'fastest' ? Number.POSITIVE_INFINITY : speed }
}
