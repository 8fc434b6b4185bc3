// damselfly up: boots a machine. Without a device two hosts on an in-memory wire keep each other busy; with one, a host
// stands on it that the kernel can talk to. At the end, or at Ctrl-C, the tables.
import type { Server } from 'node:net'
import { parseArgs } from 'node:util'
import { KernelError } from '../base/errno.ts'
import { systemSeed } from '../base/random.ts'
import { configureInterface, interfaceMtu, QUEUE_LENGTH } from '../device/linux/interface.ts'
import { openTun, type TunHandle } from '../device/linux/tun.ts'
import { type DeviceSpec, deviceRegions, parseDevice } from '../device/spec.ts'
import { parseTraceMode, type TraceMode } from '../kernel/trace/mode.ts'
import { boot } from '../machine/boot.ts'
import { CpuFailure } from '../machine/failure.ts'
import type { Machine } from '../machine/machine.ts'
import type { HostConfig } from '../net/config.ts'
import { type DisciplineOptions, type DispatchOptions, disciplineOptions, dispatchOptions } from '../node/options.ts'
import { answerTrace, isTraceOrder } from '../service/trace.ts'
import { areNeighbours, decimalNumber, hostPrefix, neighbour, wholeNumber } from './argument.ts'
import { serveControl } from './control.ts'
import { untilReady } from './ready.ts'
import { report } from './report.ts'
import { aboutHost, delivered, difference, type Snapshot, snapshot } from './snapshot.ts'
import { count } from './table.ts'
import type { UpData } from './up-program.ts'
import { UsageError } from './usage.ts'

interface Options extends DisciplineOptions, DispatchOptions {
  readonly cpus: number
  /** 0: until a signal. */
  readonly seconds: number
  readonly device: { readonly kind: 'tun' | 'tap'; readonly name: string } | undefined
  readonly address: string
  readonly kernelAddress: string
  readonly echoPort: number
  readonly pcap: string | undefined
  readonly flows: number
  readonly window: number
  readonly payload: number
  readonly loss: number
  /** Undefined: what strangers see, on a device, must not be guessed. */
  readonly seed: number | undefined
  readonly trace: TraceMode
  readonly pairs: boolean
  readonly json: boolean
  readonly layout: boolean
}

export async function up(args: readonly string[]): Promise<void> {
  const options = parse(args)
  if (options.device === undefined) await onWire(options)
  else await onDevice(options, options.device)
}

/** Two hosts, each on all CPUs, and a wire between them with a queue for every CPU at both ends. */
async function onWire(options: Options): Promise<void> {
  const cpus = Array.from({ length: options.cpus }, (_, i) => i)
  const wire = { name: 'wire0', a: cpus, b: cpus }
  const end = (side: 'a' | 'b'): DeviceSpec => ({ kind: 'wire', wire, side })
  const bad: DeviceSpec = options.loss === 0 ? end('a') : { kind: 'fault', of: end('a'), loss: options.loss }
  const host = (name: string, index: number, device: DeviceSpec, address: string) => ({
    config: {
      name,
      index,
      cpus,
      ...concurrency(options),
      interfaces: [{ name: 'wire0', device, addresses: [address] }],
    },
  })
  const load = {
    target: '10.0.0.2',
    port: options.echoPort,
    flows: options.flows,
    window: options.window,
    payload: options.payload,
    pingsPerSecond: 100,
  }
  const data: UpData = {
    hosts: [
      { ...host('server', 0, end('b'), '10.0.0.2/24'), echoPort: options.echoPort },
      { ...host('client', 1, recorded(bad, options), '10.0.0.1/24'), load },
    ],
  }
  await run(options, data, `UDP echo and ping over an in-memory wire, ${cpusText(options)}`)
}

/** One host on a TUN or TAP device, a queue of it for each CPU. */
async function onDevice(
  options: Options,
  { kind, name }: { readonly kind: 'tun' | 'tap'; readonly name: string },
): Promise<void> {
  const cpus = Array.from({ length: options.cpus }, (_, i) => i)
  const tun = openTun({ name, kind, queues: options.cpus })
  try {
    configureInterface(tun.name, { address: options.kernelAddress, queueLength: QUEUE_LENGTH, up: true })
    const device: DeviceSpec = { kind, name: tun.name, descriptors: tun.descriptors, cpus, mtu: interfaceMtu(tun.name) }
    const addresses = [options.address]
    const config = {
      name: 'host',
      index: 0,
      cpus,
      ...concurrency(options),
      interfaces: [{ name: tun.name, device: recorded(device, options), addresses }],
    }
    const [own] = options.address.split('/')
    if (!options.json) {
      console.log(`${own} is up on ${tun.name}; the kernel's end is ${options.kernelAddress}. Try:`)
      console.log(`  ping ${own}          UDP echo: port ${options.echoPort}          Ctrl-C ends it`)
    }
    await run(
      options,
      { hosts: [{ config, echoPort: options.echoPort }] },
      `${own} on ${tun.name}, ${cpusText(options)}`,
      'packets',
    )
  } finally {
    closeQuietly(tun)
  }
}

async function run(options: Options, data: UpData, title: string, greeting?: string): Promise<void> {
  try {
    await runToEnd(options, data, title, greeting)
  } catch (error) {
    throw plain(error)
  }
}

async function runToEnd(options: Options, data: UpData, title: string, greeting?: string): Promise<void> {
  // From before the boot on: a signal that comes too early is not lost, nor does it end the process half way.
  const signalled = firstSignal()
  const machine = await boot({
    cpus: options.cpus,
    program: new URL(`./up-program${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url),
    data,
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    regions: deviceRegions(data.hosts.flatMap(({ config }) => config.interfaces.map(({ device }) => device))),
    memoryBytes: 512 * 1024 * 1024,
    trace: options.trace,
    signals: false,
  })
  if (options.layout) console.log(`${machine.layout}\n`)
  await untilReady(machine, data)
  if (greeting !== undefined && !options.json) console.log(greeting)
  const began = performance.now()
  const take = () =>
    snapshot(machine, title, (performance.now() - began) * 1000, aboutHost(machine.memory, data.hosts[0]!.config))
  const control = await serveOrSay(machine, take, options)
  const ended = untilEnd(machine, options.seconds, signalled)
  const stopProgress = options.json ? () => {} : showProgress(take, options.seconds)
  let signal: NodeJS.Signals | undefined
  try {
    signal = await ended
  } finally {
    stopProgress()
    control?.close()
  }
  const last = take()
  await machine.stop()
  if (options.json) console.log(JSON.stringify(last))
  else
    console.log(
      `${title}${options.seed === undefined ? '' : `, seed ${options.seed}`}\n\n${report(last, options.pairs)}`,
    )
  if (signal !== undefined) process.exitCode = signal === 'SIGINT' ? 130 : 143
}

/** What the user gave and only a worker could see to be wrong is the user's to know, without a stack. */
function plain(error: unknown): unknown {
  const cause = error instanceof CpuFailure ? error.cause : undefined
  return cause instanceof KernelError ? cause : error
}

/**
 * The first SIGINT or SIGTERM. Those that follow change nothing, for npm passes on what the terminal has already sent; the
 * third ends the process at once.
 */
function firstSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let signals = 0
    const onSignal = (signal: NodeJS.Signals) => {
      if (++signals === 3) process.exit(signal === 'SIGINT' ? 130 : 143)
      resolve(signal)
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}

/** Until the time is over, a signal comes, or a CPU throws: that rejects. */
async function untilEnd(
  machine: Machine,
  seconds: number,
  signalled: Promise<NodeJS.Signals>,
): Promise<NodeJS.Signals | undefined> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<undefined>((resolve) => {
    if (seconds > 0) timer = setTimeout(() => resolve(undefined), seconds * 1000)
  })
  try {
    return await Promise.race([signalled, over, machine.done.then(() => undefined)])
  } finally {
    clearTimeout(timer)
  }
}

/** A line that tells how it goes, several times a second on a terminal, every ten seconds elsewhere. */
function showProgress(take: () => Snapshot, seconds: number): () => void {
  const terminal = process.stdout.isTTY
  let earlier = take()
  const show = () => {
    const now = take()
    const change = difference(now, earlier)
    const rate = delivered(change) / (change.atUs / 1e6)
    earlier = now
    const end = seconds === 0 ? '' : ` of ${seconds}`
    const line = `${(now.atUs / 1e6).toFixed(1)}${end} s   ${count(delivered(now))} packets delivered   ${count(rate)} a second`
    process.stdout.write(terminal ? `\r\x1b[K${line}` : `${line}\n`)
  }
  const timer = setInterval(show, terminal ? 250 : seconds === 0 ? 10_000 : Math.max(1000, (seconds * 1000) / 5))
  return () => {
    clearInterval(timer)
    if (terminal) process.stdout.write('\r\x1b[K')
  }
}

function recorded(device: DeviceSpec, options: Options): DeviceSpec {
  if (options.pcap === undefined) return device
  return { kind: 'capture', of: device, path: options.pcap, wallUs: Date.now() * 1000 }
}

/** The machine runs also where no control socket can be made; then `damselfly stat` cannot see it. */
async function serveOrSay(machine: Machine, take: () => Snapshot, options: Options): Promise<Server | undefined> {
  try {
    // The first CPU has a part of every host.
    return await serveControl({
      snapshot: take,
      order: (order) =>
        isTraceOrder(order) ? answerTrace(machine.memory, machine.clock, order) : machine.ask(0, order),
    })
  } catch (error) {
    if (!options.json) console.error(`damselfly stat will not find this instance: ${(error as Error).message}`)
    return undefined
  }
}

function cpusText({ cpus }: Options): string {
  return cpus === 1 ? '1 CPU' : `${cpus} CPUs`
}

/** How the CPUs of every host share its connections, and packets get from layer to layer. */
function concurrency({
  discipline,
  groups,
  dispatch,
  layers,
}: Options): Pick<HostConfig, 'discipline' | 'groups' | 'dispatch' | 'layers'> {
  return { discipline, ...(groups === undefined ? {} : { groups }), dispatch, layers }
}

function closeQuietly(tun: TunHandle): void {
  try {
    tun.close()
  } catch {
    // The device goes with the process in any case.
  }
}

function parse(args: readonly string[]): Options {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      cpus: text,
      seconds: text,
      device: text,
      address: text,
      'kernel-address': text,
      'echo-port': text,
      pcap: text,
      flows: text,
      window: text,
      payload: text,
      loss: text,
      seed: text,
      discipline: text,
      groups: text,
      dispatch: text,
      layers: text,
      trace: text,
      pairs: flag,
      json: flag,
      layout: flag,
    },
  })
  const device = parseUpDevice(values.device)
  for (const option of ['address', 'kernel-address'] as const) {
    if (device === undefined && values[option] !== undefined) throw new UsageError(`--${option} goes with --device`)
  }
  if (device !== undefined && values.address === undefined) {
    throw new UsageError('--device needs --address: the address of this host, like 10.77.0.2/24')
  }
  const own = values.address === undefined ? undefined : hostPrefix('address', values.address)
  const kernelAddress = values['kernel-address'] ?? (own === undefined ? '' : neighbour(own))
  for (const option of ['flows', 'window', 'payload', 'loss'] as const) {
    if (device !== undefined && values[option] !== undefined) {
      throw new UsageError(`--${option} is for the wire: leave it out, or --device`)
    }
  }
  if (own !== undefined && !areNeighbours(own, hostPrefix('kernel-address', kernelAddress))) {
    throw new UsageError(
      `--kernel-address is "${kernelAddress}", not in the net of --address ${values.address}: give another of its prefix`,
    )
  }
  if (kernelAddress !== '' && kernelAddress.split('/')[0] === values.address?.split('/')[0]) {
    throw new UsageError(`--kernel-address is "${kernelAddress}", the host's own: give another of its prefix`)
  }
  if (values.pcap !== undefined && !/\.pcap(ng)?$/.test(values.pcap)) {
    throw new UsageError(`--pcap is "${values.pcap}": give a file name that ends in .pcap or .pcapng`)
  }
  const cpus = wholeNumber('cpus', values.cpus, 1, 64, 2)
  return {
    cpus,
    ...orUsage(() => disciplineOptions(values.discipline, values.groups, cpus)),
    ...orUsage(() => dispatchOptions(values.dispatch, values.layers)),
    seconds: wholeNumber('seconds', values.seconds, 1, 86400, device === undefined ? 5 : 0),
    device,
    address: values.address ?? '',
    kernelAddress,
    echoPort: wholeNumber('echo-port', values['echo-port'], 1, 65535, 7),
    pcap: values.pcap,
    flows: wholeNumber('flows', values.flows, 0, 1000, 16),
    window: wholeNumber('window', values.window, 1, 1000, 16),
    payload: wholeNumber('payload', values.payload, 0, 65507, 64),
    loss: decimalNumber('loss', values.loss, 0, 0.9, 0),
    seed:
      values.seed === undefined && device !== undefined
        ? undefined
        : wholeNumber('seed', values.seed, 0, 4294967295, systemSeed()),
    trace: traceOption(values.trace),
    pairs: values.pairs,
    json: values.json,
    layout: values.layout,
  }
}

function traceOption(text: string | undefined): TraceMode {
  try {
    return parseTraceMode(text ?? 'off')
  } catch (error) {
    throw error instanceof KernelError ? new UsageError(`--trace: ${error.message}`) : error
  }
}

/** What it reads; a refusal, which begins with the option's name, is the user's. */
function orUsage<Result>(read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    throw error instanceof KernelError ? new UsageError(`--${error.message}`) : error
  }
}

function parseUpDevice(text: string | undefined): Options['device'] {
  if (text === undefined) return undefined
  let device: ReturnType<typeof parseDevice> | undefined
  try {
    if (/^(tun|tap):./.test(text)) device = parseDevice(text)
  } catch (error) {
    throw new UsageError(`--device: ${(error as Error).message}`)
  }
  if (device?.kind === 'tun' || device?.kind === 'tap') return device
  throw new UsageError(`--device is "${text}": give tun:NAME or tap:NAME, like tun:df0`)
}
