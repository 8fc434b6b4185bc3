// A chain as bytes: what another process is given of it. JSON, because a peer may be of any language and version; read as hostile input
// is, for whoever wrote it may be anybody: bounded in bytes, hops, frames and the length of each text, every value checked, what is
// unknown refused as a whole. Nothing in it is ever a path to open or code to run.
import { CHAIN_ENDS, type Chain, type ChainEnd, type Frame, HOP_KINDS, type Hop, type HopKind } from './chain.ts'

/** First member of each trace on the wire; another version is refused. */
export const TRACE_FORMAT = 'damselfly-trace-1'
/** No trace is longer, sent or received. */
export const TRACE_BYTES_MAX = 64 * 1024
const HOPS_MAX = 64
const FRAMES_MAX = 64
const TEXT_MAX = 1024

/** The bytes of a chain; hops at its far end are left out until it fits into `bytesMax`. */
export function encodeChain(chain: Chain, bytesMax: number = TRACE_BYTES_MAX): Uint8Array {
  let hops = chain.hops.slice(0, HOPS_MAX).map(bounded)
  for (;;) {
    const end = hops.length < chain.hops.length ? 'limit' : chain.end
    const bytes = new TextEncoder().encode(JSON.stringify({ format: TRACE_FORMAT, end, hops }))
    if (bytes.length <= bytesMax || hops.length === 0) return bytes
    hops = hops.slice(0, Math.min(hops.length - 1, Math.floor((hops.length * bytesMax) / bytes.length)))
  }
}

/** The chain of such bytes; undefined where they are not one. Never throws. */
export function decodeChain(bytes: Uint8Array): Chain | undefined {
  if (bytes.length > TRACE_BYTES_MAX) return undefined
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
  if (!isRecord(value) || value.format !== TRACE_FORMAT || !isOneOf(CHAIN_ENDS, value.end)) return undefined
  if (!Array.isArray(value.hops) || value.hops.length > HOPS_MAX) return undefined
  const hops: Hop[] = []
  for (const each of value.hops as unknown[]) {
    const hop = hopOf(each)
    if (hop === undefined) return undefined
    hops.push(hop)
  }
  return { hops, end: value.end as ChainEnd }
}

function bounded(hop: Hop): Hop {
  const frames = hop.frames.slice(0, FRAMES_MAX).map((frame) => ({
    ...frame,
    function: frame.function.slice(0, TEXT_MAX),
    file: frame.file.slice(-TEXT_MAX),
  }))
  return { ...hop, to: hop.to.slice(0, TEXT_MAX), frames }
}

function hopOf(value: unknown): Hop | undefined {
  if (!isRecord(value) || !isOneOf(HOP_KINDS, value.kind)) return undefined
  const { cpu, to, atUs, id, process, frames } = value
  if (!isCount(cpu) || !isText(to) || !isNumber(atUs) || !isCount(id)) return undefined
  if (!Array.isArray(frames) || frames.length > FRAMES_MAX) return undefined
  const checked: Frame[] = []
  for (const each of frames as unknown[]) {
    const frame = frameOf(each)
    if (frame === undefined) return undefined
    checked.push(frame)
  }
  const inferred = value.isInferred === true ? ({ isInferred: true } as const) : {}
  const hop: Hop = { kind: value.kind as HopKind, cpu, to, atUs, id, ...inferred, frames: checked }
  if (process === undefined) return hop
  if (!isRecord(process) || !isCount(process.pid) || !isText(process.title)) return undefined
  return { ...hop, process: { pid: process.pid, title: process.title } }
}

function frameOf(value: unknown): Frame | undefined {
  if (!isRecord(value)) return undefined
  const { function: name, file, line, column } = value
  if (!isText(name) || !isText(file) || !isCount(line) || !isCount(column)) return undefined
  return { function: name, file, line, column }
}

function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isOneOf(values: readonly string[], value: unknown): boolean {
  return typeof value === 'string' && values.includes(value)
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Bounded, and without what would act upon a terminal that it is printed on. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_MAX && !hasControl(value)
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true
  }
  return false
}
