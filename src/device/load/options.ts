// What a load device is asked for: plain data, the same on every CPU, and how the device appears to the host under test.
// Read queue.ts for what the workloads do.
import { Errno, KernelError } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import type { DeviceInfo } from '../device.ts'
import { MBUF_ROOM } from '../mbuf.ts'

/**
 * - `exchange`: established connections, each with one question under way, which the server echoes
 * - `bulk-in`: the server receives as much as its windows permit
 * - `bulk-out`: the server sends, and what it sends is acknowledged
 * - `short`: for each question a connection, from the SYN to both FINs, and then another one from another port
 * - `udp`: datagrams, which the server echoes
 */
export type LoadWorkload = 'exchange' | 'bulk-in' | 'bulk-out' | 'short' | 'udp'

export interface LoadOptions {
  /** Tells the load devices of a machine apart. */
  readonly name: string
  /** The host's CPUs, in the host's order, because the owner of a flow is found by it: each has a queue. */
  readonly cpus: readonly number[]
  readonly workload: LoadWorkload
  /** Connections, or flows of datagrams, of all queues together: 1 to 16384. */
  readonly connections: number
  /** Whom the clients talk to: the host's address, `10.0.0.1`, and the service's port. */
  readonly server: string
  readonly port: number
  /** The first client's address, a multiple of 64; 256 connections each have the next one. Default `10.1.0.0`. */
  readonly clients?: string
  /** Bytes of a question, and of an answer, which must fit into one packet; of datagrams 8 at least. Default 64. */
  readonly bytes?: number
  /** Over TCP: the text of a question, in place of `bytes` of it, where a server is to understand it. ASCII. */
  readonly question?: string
  /** Bytes of an answer where they are not as many as the question's. An answer may be longer than a packet. */
  readonly answerBytes?: number
  /** Datagrams under way in each flow of a closed loop. Default 1. */
  readonly outstanding?: number
  /**
   * Questions a second that each queue asks on average, at random times, whether or not the ones before are answered (an
   * open loop); for `short`, connections. Without it the loop is closed: each answer is followed by the next question.
   */
  readonly offered?: number
  /** The share of each queue's connections whose packets come by the queue behind their owner's. 0, the default, to 1. */
  readonly wrong?: number
  /** The window that clients advertise. Default 256 KiB. */
  readonly windowBytes?: number
  /** Default 1500; 1824 at most. */
  readonly mtu?: number
  /** Nobody computes or checks checksums, and TCP super-segments are taken. Default false. */
  readonly offload?: boolean
  /** Handshakes that each queue has under way when established connections are opened. Default 32. */
  readonly handshakes?: number
  /** Whether it begins by itself (the default), or when `tellLoad` says so. */
  readonly begins?: boolean
}

/** Options with nothing left out. */
export interface LoadPlan extends Required<Omit<LoadOptions, 'offered' | 'server' | 'clients'>> {
  /** 0: the loop is closed. */
  readonly offered: number
  /** Addresses as numbers, 0 to 2^32 - 1. */
  readonly server: number
  readonly clients: number
  /** Payload of a full segment. */
  readonly segmentBytes: number
  readonly windowShift: number
}

export const LOAD_CONNECTIONS_MAX = 16384
const MTU = 1500
const TCP_HEADERS = 40
const UDP_HEADERS = 28
/** A datagram carries the time when it was put in. */
const DATAGRAM_MIN = 8
const WINDOW_MAX = 65535 * 2 ** 14

/** @throws KernelError EINVAL for options that cannot be */
export function loadPlan(options: LoadOptions): LoadPlan {
  const plan = planOf(options)
  checkPlaces(options.name, plan)
  checkTraffic(options.name, plan)
  return plan
}

function planOf(options: LoadOptions): LoadPlan {
  const { mtu = MTU, windowBytes = 256 * 1024, question = '' } = options
  const bytes = question === '' ? (options.bytes ?? 64) : question.length
  let windowShift = 0
  while (windowBytes / 2 ** windowShift > 65535) windowShift++
  return {
    question,
    answerBytes: bytes,
    outstanding: 1,
    offered: 0,
    wrong: 0,
    offload: false,
    handshakes: 32,
    begins: true,
    ...options,
    bytes,
    mtu,
    windowBytes,
    windowShift,
    segmentBytes: mtu - TCP_HEADERS,
    server: addressNumber(options.name, options.server),
    clients: addressNumber(options.name, options.clients ?? '10.1.0.0'),
  }
}

function checkPlaces(name: string, plan: LoadPlan): void {
  const { cpus, connections, clients, port, mtu } = plan
  const isCpu = (cpu: number) => Number.isInteger(cpu) && cpu >= 0 && cpu < Limits.cpus
  if (cpus.length === 0 || new Set(cpus).size !== cpus.length || !cpus.every(isCpu)) {
    refuse(name, `it has CPUs [${cpus.join(', ')}]: give those of the host, each once`)
  }
  checkWhole(name, 'connections', connections, 1, LOAD_CONNECTIONS_MAX)
  checkWhole(name, 'port', port, 1, 65535)
  checkWhole(name, 'mtu', mtu, 576, MBUF_ROOM)
  if (clients % 64 !== 0) refuse(name, 'give as `clients` an address whose last number is a multiple of 64')
  if (plan.server >= clients && plan.server <= clients + (connections >>> 8)) {
    refuse(name, 'the server has an address of a client: give other `clients`')
  }
}

function checkTraffic(name: string, plan: LoadPlan): void {
  const { workload, bytes, mtu, wrong, offered } = plan
  if (!['exchange', 'bulk-in', 'bulk-out', 'short', 'udp'].includes(workload)) {
    refuse(name, `workload is ${workload}: give exchange, bulk-in, bulk-out, short or udp`)
  }
  if (workload === 'udp') checkWhole(name, 'bytes', bytes, DATAGRAM_MIN, mtu - UDP_HEADERS)
  else checkWhole(name, 'bytes', bytes, 1, mtu - TCP_HEADERS)
  checkWhole(name, 'answerBytes', plan.answerBytes, 1, plan.windowBytes)
  if (workload !== 'exchange' && workload !== 'short' && (plan.question !== '' || plan.answerBytes !== bytes)) {
    refuse(name, `a ${workload} load has no \`question\`, and no answer of another length`)
  }
  checkWhole(name, 'outstanding', plan.outstanding, 1, 65536)
  checkWhole(name, 'handshakes', plan.handshakes, 1, LOAD_CONNECTIONS_MAX)
  checkWhole(name, 'windowBytes', plan.windowBytes, mtu, WINDOW_MAX)
  if (!(wrong >= 0 && wrong <= 1)) refuse(name, `wrong is ${wrong}: give a share from 0 to 1`)
  if (!(offered >= 0 && offered <= 1e8)) refuse(name, `offered is ${offered}: give questions a second, up to 1e8`)
  if (offered > 0 && workload.startsWith('bulk')) {
    refuse(name, `a ${workload} load is as much as goes: leave out \`offered\``)
  }
}

function checkWhole(name: string, what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    refuse(name, `${what} is ${value}: give a whole number from ${least} to ${most}`)
  }
}

function addressNumber(name: string, text: string): number {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number)
  if (parts === undefined || parts.some((part) => part > 255)) {
    return refuse(name, `${JSON.stringify(text)} is no IPv4 address: give one such as 10.0.0.1`)
  }
  return parts.reduce((sum, part) => sum * 256 + part, 0)
}

function refuse(name: string, sentence: string): never {
  throw new KernelError(Errno.EINVAL, `load ${name}: ${sentence}`)
}

/** How it appears as a device: frames begin with the IP header. */
export function loadInfo(options: LoadOptions): DeviceInfo {
  const { name, mtu = MTU, cpus, offload = false } = options
  const info = { name, framing: 'ip', mtu, cpus } as const
  return offload ? { ...info, offload: { checksum: true, segmentation: true } } : info
}
