// Reads chains out of the machine's memory: from any thread that has it, live or after a CPU has died. Positions become those of the
// sources, where there are source maps; frames of the kernel's own, at both ends of a stack, are left out.
import type { Memory } from '../memory.ts'
import { NameKind, Names } from '../name.ts'
import { framesOf, packageFiles } from './callsite.ts'
import { type Chain, type ChainEnd, EMPTY_CHAIN, type Frame, HOP_KINDS, type Hop, type HopKind } from './chain.ts'
import { traceparentText } from './context.ts'
import { RemoteRecord, type TraceId, TraceRecord, TraceRings, UNTRACED } from './record.ts'
import { type SourcePositions, sourcePositions } from './sourcemap.ts'
import { textOf } from './text.ts'

/** Hops that are read of a chain. */
const HOPS_MAX = 32
/** Of the kernel itself: not what anybody asks for who wants to know who sent something. */
const KERNEL = packageFiles('kernel|machine')
/** Of the stack: between a program and the kernel it says how, and not who. */
const STACK = packageFiles('kernel|machine|device|net|socket|node|stack')

/** A hop, and the number of the one before it. */
export interface HopReading extends Hop {
  readonly parent: TraceId
  /** What the message was; empty for what is none. */
  readonly subject: string
  /** Bytes of a packet; 0 where there is none. */
  readonly bytes: number
}

export class ChainReader {
  readonly #memory: Memory
  readonly #rings: TraceRings
  readonly #positions: SourcePositions
  readonly #names: Names
  #portNames: Map<number, string> | undefined

  constructor(memory: Memory, positions: SourcePositions = sourcePositions) {
    this.#memory = memory
    this.#rings = new TraceRings(memory)
    this.#positions = positions
    this.#names = new Names(memory)
  }

  /** The chain that ends with hop `id`; `hopsMax` of it. */
  chain(id: TraceId, hopsMax: number = HOPS_MAX): Chain {
    if (id === 0 || id === UNTRACED) return EMPTY_CHAIN
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
    // Written over while it was read?
    if (!this.#rings.isKept(id)) return undefined
    const kind = HOP_KINDS[kindNumber]
    if (kind === undefined) return undefined
    const cpu = this.#rings.cpuOf(id)
    if (kind === 'remote') {
      const to = traceparentText({ traceId: hex([stack, target, type, bytes]), spanId: hex(span), isSampled })
      return { kind, cpu, to, atUs, id, frames: [], parent, subject: '', bytes: 0 }
    }
    const isMessage = MESSAGES.has(kind)
    return {
      kind,
      cpu,
      to: isMessage ? this.#portName(target) : this.#targetName(kind, cpu, target, type),
      atUs,
      id,
      frames: this.#frames(cpu, stack),
      parent,
      subject: isMessage ? (textOf(this.#memory, cpu, type) ?? '') : '',
      bytes,
    }
  }

  #targetName(kind: HopKind, cpu: number, target: number, ports: number): string {
    if (kind === 'wakeup') return `0x${target.toString(16)}`
    const text = textOf(this.#memory, cpu, target) ?? '(no longer kept)'
    return ports === 0 ? text : `${text} port ${ports >>> 16}, to port ${ports & 0xffff}`
  }

  #portName(port: number): string {
    if (this.#portNames?.has(port) !== true) {
      this.#portNames = new Map(this.#names.list(NameKind.port).map(({ name, value }) => [value, name]))
    }
    return this.#portNames?.get(port) ?? String(port)
  }

  #frames(cpu: number, stack: number): Frame[] {
    const text = stack === 0 ? undefined : textOf(this.#memory, cpu, stack)
    if (text === undefined) return []
    return this.program(framesOf(text))
  }

  /** The frames that are a program's, as its sources have them; where there are none, those of the stack above the kernel. */
  program(frames: readonly Frame[]): Frame[] {
    const program = frames.findIndex(({ file }) => !file.startsWith('node:') && !STACK.test(file))
    const first = program >= 0 ? program : frames.findIndex(({ file }) => !KERNEL.test(file))
    const last = frames.findLastIndex(({ file }) => !KERNEL.test(file))
    return first < 0 ? [] : frames.slice(first, last + 1).map((frame) => this.#positions.original(frame))
  }
}

/** 32 bits each, the uppermost first. */
function hex(words: readonly number[]): string {
  return words.map((word) => word.toString(16).padStart(8, '0')).join('')
}

const REMOTE = RemoteRecord.offset
const MESSAGES: ReadonlySet<HopKind> = new Set(['send', 'call', 'forward', 'reply', 'abort'])
