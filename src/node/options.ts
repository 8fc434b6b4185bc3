// What a program's host is started with, as `damselfly run` hands it to `damselfly/register`: environment variables, for a
// preload has no arguments of its own.
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { parseTraceMode, type TraceMode, traceModeText } from '../kernel/trace/mode.ts'
import { Family, formatAddress, networkBytes, type Prefix, parseAddress, parsePrefix } from '../net/address.ts'
import { type Discipline, groupCount } from '../net/discipline.ts'
import { type DispatchPolicies, dispatchPlan, type Layer, parseDispatch, parseLayers } from '../net/policy.ts'

export interface DisciplineOptions {
  /** How the CPUs come to work on a connection. */
  readonly discipline: Discipline
  /** Of `connp-l`: how many connection groups there are. Undefined: its default. */
  readonly groups: number | undefined
}

export interface DispatchOptions {
  /** How packets get to each protocol that is not `direct`. */
  readonly dispatch: DispatchPolicies
  /** The boundaries that are queues with threads of their own. */
  readonly layers: readonly Layer[]
}

export interface ProgramOptions extends DisciplineOptions, DispatchOptions {
  /** `none`: the host has only itself, 127.0.0.0/8. */
  readonly device: 'none' | 'tun' | 'tap'
  /** The interface's name, or a pattern such as `df%d`. */
  readonly name: string
  /** The host's, with its prefix length. */
  readonly address: string
  /** The kernel's end of the interface. */
  readonly kernelAddress: string
  /** The next router for all that is beyond the prefix. */
  readonly gateway: string | undefined
  /** CPUs with protocol threads; 1: the stack runs on the program's own thread. */
  readonly cpus: number
  /** The program is started once on each CPU. Under `connp-t` only. */
  readonly instances: boolean
  /** What passes the interface is recorded here. */
  readonly pcap: string | undefined
  /** How much of what is sent is traced to its origin. */
  readonly trace: TraceMode
}

/** The variable of each option. */
export const VARIABLES = {
  device: 'DAMSELFLY_DEVICE',
  tun: 'DAMSELFLY_TUN',
  address: 'DAMSELFLY_ADDRESS',
  'kernel-address': 'DAMSELFLY_KERNEL_ADDRESS',
  gateway: 'DAMSELFLY_GATEWAY',
  cpus: 'DAMSELFLY_CPUS',
  instances: 'DAMSELFLY_INSTANCES',
  discipline: 'DAMSELFLY_DISCIPLINE',
  groups: 'DAMSELFLY_GROUPS',
  dispatch: 'DAMSELFLY_DISPATCH',
  layers: 'DAMSELFLY_LAYERS',
  pcap: 'DAMSELFLY_PCAP',
  trace: 'DAMSELFLY_TRACE',
} as const

const DEVICES = ['none', 'tun', 'tap'] as const
/** As many as `damselfly up` takes. */
const CPUS_MAX = Math.min(64, Limits.cpus - 1)

type Environment = { readonly [name: string]: string | undefined }

/**
 * Reads the options from an environment.
 * @throws KernelError EINVAL, with the name of the variable and what is expected
 */
export function programOptions(environment: Environment): ProgramOptions {
  const text = (option: keyof typeof VARIABLES) => environment[VARIABLES[option]] || undefined
  const device = DEVICES.find((kind) => kind === (text('device') ?? 'tun'))
  if (device === undefined) throw refusal('device', text('device')!, 'none, tun or tap')
  const address = hostPrefix('address', text('address') ?? '10.77.0.2/24')
  const kernel = text('kernel-address')
  const kernelAddress = kernel === undefined ? neighbour(address) : hostPrefix('kernel-address', kernel)
  if (spell(kernelAddress) === spell(address)) {
    throw refusal('kernel-address', spell(kernelAddress), "another address than the host's own")
  }
  const { pcap, gateway } = { pcap: text('pcap'), gateway: text('gateway') }
  const cpus = cpuCount(text('cpus'))
  const instances = text('instances') === '1'
  const { discipline, groups } = named(() => disciplineOptions(text('discipline'), text('groups'), cpus))
  const queues = named(() => dispatchOptions(text('dispatch'), text('layers')))
  if (instances && discipline !== 'connp-t') {
    const sentence = `--instances (${VARIABLES.instances}) has each CPU listen for itself, and under ${discipline} no connection has a CPU: give --discipline connp-t, or leave --instances out`
    throw new KernelError(Errno.EINVAL, sentence)
  }
  if (gateway !== undefined) checkGateway(gateway, address)
  if (pcap !== undefined && !/\.pcap(ng)?$/.test(pcap))
    throw refusal('pcap', pcap, 'a file name that ends in .pcap or .pcapng')
  return {
    device,
    name: text('tun') ?? 'df0',
    address: spell(address),
    kernelAddress: spell(kernelAddress),
    gateway,
    cpus,
    instances,
    pcap,
    trace: named(() => traceOption(text('trace'))),
    discipline,
    groups,
    ...queues,
  }
}

/** The same as an environment: for the process that the program runs in. */
export function programEnvironment(options: ProgramOptions): { [name: string]: string } {
  const { device, name, address, kernelAddress, gateway, cpus, instances, pcap, discipline, groups } = options
  const { dispatch, layers, trace } = options
  return {
    [VARIABLES.device]: device,
    [VARIABLES.tun]: name,
    [VARIABLES.address]: address,
    [VARIABLES['kernel-address']]: kernelAddress,
    [VARIABLES.gateway]: gateway ?? '',
    [VARIABLES.cpus]: String(cpus),
    [VARIABLES.instances]: instances ? '1' : '',
    [VARIABLES.pcap]: pcap ?? '',
    [VARIABLES.trace]: traceModeText(trace),
    // In one word: the number must not outlive the name, where a program starts another under another discipline.
    [VARIABLES.discipline]: groups === undefined ? discipline : `${discipline}/${groups}`,
    [VARIABLES.groups]: '',
    [VARIABLES.dispatch]: Object.entries(dispatch)
      .map(([protocol, policy]) => `${protocol}=${policy}`)
      .join(),
    [VARIABLES.layers]: layers.join(),
  }
}

/** @throws KernelError EINVAL, with a sentence that begins with the option's name */
function traceOption(text = 'off'): TraceMode {
  try {
    return parseTraceMode(text)
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    throw new KernelError(Errno.EINVAL, `trace is "${text}": give off, all, exact, or N or 1/N for one of N`)
  }
}

/**
 * What the options `discipline` and `groups` say, here and for `damselfly up`. The number may also stand behind the name, as in
 * `connp-l/16`; that of `groups` goes before it.
 * @param cpus those that own flows
 * @throws KernelError EINVAL, with a sentence that begins with the option's name
 */
export function disciplineOptions(text = 'connp-t', count: string | undefined, cpus: number): DisciplineOptions {
  const slash = text.indexOf('/')
  const discipline = (slash === -1 ? text : text.slice(0, slash)) as Discipline
  const number = count ?? (slash === -1 ? undefined : text.slice(slash + 1))
  // Before the number: a name that nobody knows is the first thing to be put right.
  groupCount(discipline, cpus, undefined)
  if (number !== undefined && !/^\d+$/.test(number)) {
    throw new KernelError(Errno.EINVAL, `groups is "${number}": give a whole number`)
  }
  const groups = number === undefined ? undefined : Number(number)
  groupCount(discipline, cpus, groups)
  return { discipline, groups }
}

/**
 * What the options `dispatch` (`deferred`, or `tcp=deferred,ip=hybrid`) and `layers` (`ether,ip`, or `all`) say, here and for `damselfly up`.
 * @throws KernelError EINVAL, with a sentence that begins with the option's name
 */
export function dispatchOptions(dispatchText: string | undefined, layersText: string | undefined): DispatchOptions {
  const dispatch = dispatchText === undefined ? {} : parseDispatch(dispatchText)
  const layers = layersText === undefined ? [] : parseLayers(layersText)
  dispatchPlan({ dispatch, layers })
  return { dispatch, layers }
}

/** What it gives; its refusals by the name of the option and of the variable. */
function named<Result>(read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    const sentence = error.message.replace(/^(discipline|groups|dispatch|layers|trace)\b/, (option) => {
      return `--${option} (${VARIABLES[option as 'discipline' | 'groups' | 'dispatch' | 'layers' | 'trace']})`
    })
    throw new KernelError(Errno.EINVAL, sentence)
  }
}

function cpuCount(text = '1'): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || count > CPUS_MAX)
    throw refusal('cpus', text, `a whole number from 1 to ${CPUS_MAX}`)
  return count
}

/** An IPv4 address of a host, with its prefix length. */
function hostPrefix(option: keyof typeof VARIABLES, text: string): Prefix {
  const expected = 'an IPv4 address of a host with its prefix length, like 10.77.0.2/24'
  let prefix: Prefix
  try {
    prefix = parsePrefix(text)
  } catch (error) {
    if (error instanceof KernelError) throw refusal(option, text, expected)
    throw error
  }
  const { family, bytes, length } = prefix
  const first = bytes[0]!
  const isUnicast = first !== 0 && first !== 127 && first < 224
  // The net's own address and its broadcast are nobody's.
  const isOfHost = length > 30 || (!isNet(prefix) && !isAll(prefix))
  if (family !== Family.inet || length < 8 || !isUnicast || !isOfHost) throw refusal(option, text, expected)
  return prefix
}

function isNet({ bytes, length }: Prefix): boolean {
  return networkBytes(bytes, length).every((byte, i) => byte === bytes[i])
}

function isAll({ bytes, length }: Prefix): boolean {
  return networkBytes(
    bytes.map((byte) => ~byte & 0xff),
    length,
  ).every((byte, i) => byte === (~bytes[i]! & 0xff))
}

/** The first address of the prefix that a host can have and that is not the given one. */
function neighbour(prefix: Prefix): Prefix {
  const { length } = prefix
  if (length === 32) throw refusal('address', spell(prefix), 'a prefix with room for the kernel, /31 or shorter')
  const bytes = networkBytes(prefix.bytes, length)
  // A link of two ends has no address of its own (RFC 3021).
  if (length < 31) bytes[3]! += 1
  if (bytes.every((byte, i) => byte === prefix.bytes[i])) bytes[3]! += 1
  return { ...prefix, bytes }
}

function checkGateway(text: string, own: Prefix): void {
  const expected = `an address of the net of ${spell(own)}, such as the kernel's`
  try {
    const { family, bytes } = parseAddress(text)
    const inNet = networkBytes(bytes, own.length).every((byte, i) => byte === networkBytes(own.bytes, own.length)[i])
    if (family === Family.inet && inNet) return
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
  }
  throw refusal('gateway', text, expected)
}

function spell({ family, bytes, length }: Prefix): string {
  return `${formatAddress(family, bytes, 0)}/${length}`
}

function refusal(option: keyof typeof VARIABLES, text: string, expected: string): KernelError {
  return new KernelError(Errno.EINVAL, `--${option} (${VARIABLES[option]}) is "${text}": give ${expected}`)
}
