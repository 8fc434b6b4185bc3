// Reads chains out of the machine's memory: from any thread that has it, live or after a CPU has died. Positions become those of the
// sources, where there are source maps; frames of the kernel's own, at both ends of a stack, are left out.
import { Limits } from '../../base/limits.ts'
import { HANDOFF_POINTS, type HandoffPoint, PORT_BYTES, PORT_POINT } from '../layout.ts'
import type { Memory } from '../memory.ts'
import { NameKind, Names } from '../name.ts'
import { framesOf, packageFiles } from './callsite.ts'
import { type Chain, type ChainEnd, EMPTY_CHAIN, type Frame, HOP_KINDS, type Hop, type HopKind } from './chain.ts'
import { traceparentText } from './context.ts'
import { RemoteRecord, type Taken, type TraceId, TraceRecord, TraceRings } from './record.ts'
import { INFERRED } from './site.ts'
import { type SourcePositions, sourcePositions } from './sourcemap.ts'
import { textOf } from './text.ts'

/** Hops that are read of a chain. */
const HOPS_MAX = 32
/** Stacks that are kept as they were read. */
const STACKS_MAX = 1024
/** Of the kernel itself: not what anybody asks for who wants to know who sent something. */
const KERNEL = packageFiles('kernel|machine')
/** Of the stack: between a program and the kernel it says how, and not who. */
const STACK = packageFiles('kernel|machine|device|net|socket|node|stack')

/** A hop, and the number of the one before it. */
export interface HopReading extends Hop {
  readonly parent: TraceId
  /** What `to` says of a packet, in parts: whose it is, and its ports; empty and 0 where there is none. */
  readonly label: string
  readonly localPort: number
  readonly remotePort: number
  /** Of a message: the hand-off point that its port is, and the CPU that serves it. */
  readonly point: HandoffPoint | ''
  readonly target: number
  /** How what was sent came to be taken; undefined where it was not, as yet, or is no message. */
  readonly taken: Taken | undefined
  /** What the message was; empty for what is none. */
  readonly subject: string
  /** Bytes of a packet; 0 where there is none. */
  readonly bytes: number
}

export interface ChainReading extends Chain {
  readonly hops: readonly HopReading[]
}

export class ChainReader {
  readonly #memory: Memory
  readonly #rings: TraceRings
  readonly #positions: SourcePositions
  readonly #names: Names
  readonly #portNames = new Map<number, string>()
  readonly #stacks = new Map<number, readonly Frame[]>()

  constructor(memory: Memory, positions: SourcePositions = sourcePositions) {
    this.#memory = memory
    this.#rings = new TraceRings(memory)
    this.#positions = positions
    this.#names = new Names(memory)
  }

  /** The chain that ends with hop `id`; `hopsMax` of it. */
  chain(id: TraceId, hopsMax: number = HOPS_MAX): ChainReading {
    if (id <= 0) return EMPTY_CHAIN
    const hops: HopReading[] = []
    let end: ChainEnd = 'origin'
    for (let at = id; at !== 0; ) {
      if (hops.length === hopsMax) {
        end = 'limit'
        break
      }
      const hop = this.hop(at)
      if (hop === undefined) {
        end = 'evicted'
        break
      }
      hops.push(hop)
      at = hop.parent
    }
    return { hops, end }
  }

  /** One hop; undefined where it is no longer kept. */
  hop(id: TraceId): HopReading | undefined {
    if (!this.#rings.isKept(id)) return undefined
    const { view } = this.#memory
    const place = this.#rings.place(id)
    const word = (offset: number) => view.getUint32(place + offset, true)
    const AT = TraceRecord.offset
    const kindNumber = view.getUint16(place + AT.kind, true)
    const parent = word(AT.parent)
    const stack = word(AT.stack)
    const target = word(AT.target)
    const type = word(AT.subject)
    const atUs = view.getFloat64(place + AT.time, true)
    const bytes = word(AT.extra)
    const span = [word(REMOTE.span0), word(REMOTE.span1)]
    const isSampled = word(REMOTE.isSampled) !== 0
    const takenWord = word(AT.taken)
    // Written over while it was read?
    if (!this.#rings.isKept(id)) return undefined
    const kind = HOP_KINDS[kindNumber]
    if (kind === undefined) return undefined
    const cpu = this.#rings.cpuOf(id)
    if (kind === 'remote') {
      const to = traceparentText({ traceId: hex([stack, target, type, bytes]), spanId: hex(span), isSampled })
      return { ...NOTHING, kind, cpu, to, atUs, id, parent, target: cpu }
    }
    const isMessage = MESSAGES.has(kind)
    const hasPorts = !isMessage && type !== 0
    const isLabelled = !isMessage && kind !== 'wakeup'
    const isInferred = (stack & INFERRED) !== 0
    const label = isLabelled ? (textOf(this.#memory, cpu, target) ?? '(no longer kept)') : ''
    return {
      kind,
      cpu,
      to: this.#targetName(kind, target, label, type),
      atUs,
      id,
      ...(isInferred ? { isInferred } : {}),
      frames: this.#frames(cpu, stack & ~INFERRED),
      parent,
      subject: isMessage ? (textOf(this.#memory, cpu, type) ?? '') : '',
      bytes,
      label,
      localPort: hasPorts ? type >>> 16 : 0,
      remotePort: hasPorts ? type & 0xffff : 0,
      point: isMessage ? this.#pointOf(target) : '',
      target: isMessage ? this.#homeOf(target) : cpu,
      taken: this.#rings.takenOf(id, takenWord),
    }
  }

  #targetName(kind: HopKind, target: number, label: string, ports: number): string {
    if (MESSAGES.has(kind)) return this.#portName(target)
    if (kind === 'wakeup') return `0x${target.toString(16)}`
    if (ports === 0) return label
    return `${label} port ${ports >>> 16}, ${TAKES.has(kind) ? 'from' : 'to'} port ${ports & 0xffff}`
  }

  #portName(port: number): string {
    if (!this.#portNames.has(port)) {
      for (const { name, value } of this.#names.list(NameKind.port)) this.#portNames.set(value, name)
      // The names are not read again for one that has none.
      if (!this.#portNames.has(port)) this.#portNames.set(port, String(port))
    }
    return this.#portNames.get(port)!
  }

  #pointOf(port: number): HandoffPoint | '' {
    const { layout, i32 } = this.#memory
    if (port >= layout.cpus * Limits.portsPerCpu) return ''
    return HANDOFF_POINTS[i32[(layout.ports + port * PORT_BYTES + PORT_POINT) >> 2]!] ?? ''
  }

  #homeOf(port: number): number {
    const { layout, i32 } = this.#memory
    return port >= layout.cpus * Limits.portsPerCpu ? 0 : Atomics.load(i32, (layout.portHomes >> 2) + port) & 0xffff
  }

  /** The number of a text means the same as long as the table is kept; so what was read once is not read again. */
  #frames(cpu: number, stack: number): readonly Frame[] {
    if (stack === 0) return []
    const key = cpu * 2 ** 32 + stack
    let frames = this.#stacks.get(key)
    if (frames === undefined) {
      if (this.#stacks.size >= STACKS_MAX) this.#stacks.clear()
      frames = this.#readFrames(cpu, stack)
      this.#stacks.set(key, frames)
    }
    return frames
  }

  #readFrames(cpu: number, stack: number): Frame[] {
    const text = textOf(this.#memory, cpu, stack)
    if (text === undefined) return []
    return this.program(framesOf(text))
  }

  /** The frames that are a program's, as its sources have them; where there are none, those of the stack above the kernel. */
  program(frames: readonly Frame[]): Frame[] {
    // Who has called the stack; below, how the stack came to call the program tells nothing more.
    const isOther = ({ file }: Frame) => !KERNEL.test(file) && !file.startsWith('node:')
    const isProgram = (frame: Frame) => isOther(frame) && !STACK.test(frame.file)
    const isWanted = frames.some(isProgram) ? isProgram : isOther
    const first = frames.findIndex(isWanted)
    const last = frames.findLastIndex(isWanted)
    return first < 0 ? [] : frames.slice(first, last + 1).map((frame) => this.#positions.original(frame))
  }
}

/** 32 bits each, the uppermost first. */
function hex(words: readonly number[]): string {
  return words.map((word) => word.toString(16).padStart(8, '0')).join('')
}

const REMOTE = RemoteRecord.offset
/** Of a hop that is neither a message nor a packet. */
const NOTHING = {
  frames: [],
  subject: '',
  bytes: 0,
  label: '',
  localPort: 0,
  remotePort: 0,
  point: '',
  taken: undefined,
} as const
const MESSAGES: ReadonlySet<HopKind> = new Set(['send', 'call', 'forward', 'reply', 'abort'])
/** Of what came, the other port is where it came from. */
const TAKES: ReadonlySet<HopKind> = new Set(['read', 'accept'])
