// The packets of a capture file, classic pcap or pcapng, in either byte order. Read format.ts first.
// For tools and tests, on any thread; a packet is an object here, so this is not for a CPU's hot path.
//
// A file is hostile input that its caller asked for by name, so what is wrong with it is one KernelError that tells the
// offset. A file that only ends too early is not wrong (its writer may still be running): what is whole is delivered
// and `truncated` says the rest. Each turn of a loop here advances by at least the smallest block or record.
import { Errno, KernelError } from '../../base/errno.ts'
import {
  BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN,
  Block,
  BlockType,
  BYTE_ORDER,
  type CaptureFormat,
  type Direction,
  EnhancedPacket,
  FLAGS_DIRECTION_MASK,
  FLAGS_INBOUND,
  FLAGS_OUTBOUND,
  InterfaceDescription,
  LegacyPacket,
  OptionCode,
  OptionHeader,
  PCAP_MAJOR,
  PCAP_MICROSECONDS,
  PCAP_MINOR,
  PCAP_NANOSECONDS,
  PCAPNG_MAJOR,
  PcapHeader,
  PcapRecord,
  padded,
  RESOLUTION_BINARY,
  RESOLUTION_DEFAULT,
  SectionHeader,
  SimplePacket,
  TRAILER_BYTES,
} from './format.ts'

export interface Packet {
  /** Microseconds since 1970; 0 for the Simple Packet Block of pcapng, which has no time. */
  timeUs: number
  linkType: number
  /** Counted over all sections of a file, so that it is an index into `Capture.linkTypes`. */
  interfaceIndex: number
  /** The bytes that were kept: a part of the file's own bytes, not a copy. */
  data: Uint8Array
  /** Bytes the packet had on its link; never less than `data.length`. */
  originalLength: number
  /** Several comments of one packet are lines. */
  comment?: string
  direction?: Direction
}

export interface Capture {
  readonly format: CaptureFormat
  /** The link type of each interface, all sections one after the other. */
  readonly linkTypes: readonly number[]
  /** Known when the packets were iterated to their end: the file ends inside a record or block. */
  readonly truncated: boolean
  /**
   * The packets in the order of the file, from its beginning each time.
   * @throws KernelError EPROTO at the first thing that is wrong, after the packets before it
   */
  packets(): Iterable<Packet>
}

/** A capture as its own reader sees it: it learns while it reads that the file ends early. */
interface OpenCapture extends Capture {
  truncated: boolean
}

interface Input {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** How sentences call the file. */
  readonly name: string
}

/**
 * @param bytes a whole file; kept, and not written to
 * @param name how the sentences of errors call it
 * @throws KernelError EINVAL if it is no capture file, EPROTO if its first header is damaged
 */
export function readCapture(bytes: Uint8Array, name = 'The capture'): Capture {
  const { buffer, byteOffset, byteLength } = bytes
  const input = {
    bytes: new Uint8Array(buffer, byteOffset, byteLength),
    view: new DataView(buffer, byteOffset, byteLength),
    name,
  }
  if (byteLength < 4) {
    const what = `${name}: expected the magic number of a capture file at offset 0, found only ${byteLength} bytes`
    throw new KernelError(Errno.EINVAL, what)
  }
  const magic = input.view.getUint32(0)
  if (magic === BlockType.SECTION) return pcapng(input)
  for (const little of [false, true]) {
    const word = input.view.getUint32(0, little)
    if (word === PCAP_MICROSECONDS) return pcap(input, little, 1)
    if (word === PCAP_NANOSECONDS) return pcap(input, little, 1000)
  }
  const what = `${name}: expected the magic number of pcap or pcapng at offset 0, found ${hex(magic)}`
  throw new KernelError(Errno.EINVAL, what)
}

function hex(word: number): string {
  return `0x${word.toString(16).padStart(8, '0')}`
}

function damaged(input: Input, at: number, expected: string, found: string | number): KernelError {
  return new KernelError(Errno.EPROTO, `${input.name}: expected ${expected} at offset ${at}, found ${found}`)
}

// Classic pcap.

function pcap(input: Input, little: boolean, unitsPerMicrosecond: number): Capture {
  const { view, bytes } = input
  const { offset } = PcapHeader
  if (bytes.length < PcapHeader.size) {
    throw damaged(input, 0, `a pcap header of ${PcapHeader.size} bytes`, `the end of the file after ${bytes.length}`)
  }
  const major = view.getUint16(offset.major, little)
  const minor = view.getUint16(offset.minor, little)
  if (major !== PCAP_MAJOR || minor < PCAP_MINOR) {
    throw damaged(input, offset.major, `version ${PCAP_MAJOR}.${PCAP_MINOR} of pcap`, `${major}.${minor}`)
  }
  const linkType = view.getUint32(offset.linkType, little) & 0xffff
  const capture: OpenCapture = {
    format: 'pcap',
    linkTypes: [linkType],
    truncated: false,
    packets: () => pcapPackets(input, capture, little, unitsPerMicrosecond, linkType),
  }
  return capture
}

function* pcapPackets(
  input: Input,
  capture: OpenCapture,
  little: boolean,
  unitsPerMicrosecond: number,
  linkType: number,
): Generator<Packet> {
  const { view, bytes } = input
  const { offset } = PcapRecord
  let at = PcapHeader.size
  while (bytes.length - at >= PcapRecord.size) {
    const captured = view.getUint32(at + offset.capturedLength, little)
    if (captured > BLOCK_BYTES_MAX) {
      throw damaged(input, at + offset.capturedLength, `a length of at most ${BLOCK_BYTES_MAX}`, captured)
    }
    const data = at + PcapRecord.size
    const end = data + captured
    if (end > bytes.length) break
    const fraction = view.getUint32(at + offset.fraction, little)
    yield {
      timeUs: view.getUint32(at + offset.seconds, little) * 1e6 + fraction / unitsPerMicrosecond,
      linkType,
      interfaceIndex: 0,
      data: bytes.subarray(data, end),
      originalLength: Math.max(captured, view.getUint32(at + offset.originalLength, little)),
    }
    at = end
  }
  if (at !== bytes.length) capture.truncated = true
}

// pcapng.

/** A block that lies whole in the file; its length was found sane and the same at both ends. */
interface BlockPlace {
  readonly type: number
  readonly at: number
  /** Where its body ends and the trailing length begins. */
  readonly end: number
  /** The byte order of its section. */
  readonly little: boolean
}

interface Interface {
  readonly linkType: number
  readonly snapLength: number
  /** A bigint because a hostile resolution of 10^-127 s is legal. */
  readonly unitsPerSecond: bigint
  readonly offsetSeconds: bigint
}

function pcapng(input: Input): Capture {
  if (blocks(input, { truncated: false }).next().done) {
    throw damaged(input, 0, 'a whole section header', `the end of the file after ${input.bytes.length} bytes`)
  }
  const capture: OpenCapture = {
    format: 'pcapng',
    linkTypes: linkTypes(input),
    truncated: false,
    packets: () => pcapngPackets(input, capture),
  }
  return capture
}

/** A walk over the whole file, as far as it is sound; what is wrong with it is told to whoever reads the packets. */
function linkTypes(input: Input): number[] {
  const found: number[] = []
  try {
    for (const block of blocks(input, { truncated: false })) {
      if (block.type === BlockType.INTERFACE) found.push(readInterface(input, block).linkType)
    }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
  }
  return found
}

function* pcapngPackets(input: Input, capture: OpenCapture): Generator<Packet> {
  let interfaces: Interface[] = []
  /** How many interfaces earlier sections had. */
  let base = 0
  for (const block of blocks(input, capture)) {
    switch (block.type) {
      case BlockType.SECTION:
        base += interfaces.length
        interfaces = []
        break
      case BlockType.INTERFACE:
        interfaces.push(readInterface(input, block))
        break
      case BlockType.ENHANCED_PACKET:
      case BlockType.LEGACY_PACKET:
        yield timedPacket(input, block, interfaces, base)
        break
      case BlockType.SIMPLE_PACKET:
        yield simplePacket(input, block, interfaces, base)
        break
    }
  }
}

/** The blocks of the file; a tail that is not a whole block ends them and is told to `capture`. */
function* blocks(input: Input, capture: { truncated: boolean }): Generator<BlockPlace> {
  const { view, bytes } = input
  let little = false
  let at = 0
  while (bytes.length - at >= BLOCK_BYTES_MIN) {
    const section = view.getUint32(at) === BlockType.SECTION
    if (section) little = sectionOrder(input, at)
    const type = view.getUint32(at, little)
    const lengthAt = at + Block.offset.length
    const length = view.getUint32(lengthAt, little)
    if (length < BLOCK_BYTES_MIN || length % 4 !== 0 || length > BLOCK_BYTES_MAX) {
      const expected = `a block length from ${BLOCK_BYTES_MIN} to ${BLOCK_BYTES_MAX} that is a multiple of 4`
      throw damaged(input, lengthAt, expected, length)
    }
    if (length > bytes.length - at) break
    const end = at + length - TRAILER_BYTES
    const trailing = view.getUint32(end, little)
    if (trailing !== length) throw damaged(input, end, `the block's length ${length} again`, trailing)
    const block = { type, at, end, little }
    if (section) checkSection(input, block)
    yield block
    at += length
  }
  if (at !== bytes.length) capture.truncated = true
}

/** Whether the section at `at` is little-endian. */
function sectionOrder(input: Input, at: number): boolean {
  const place = at + SectionHeader.offset.byteOrder
  for (const little of [false, true]) {
    if (input.view.getUint32(place, little) === BYTE_ORDER) return little
  }
  throw damaged(input, place, `the byte order mark ${hex(BYTE_ORDER)}`, hex(input.view.getUint32(place)))
}

function checkSection(input: Input, block: BlockPlace): void {
  requireBody(input, block, SectionHeader.size)
  const place = block.at + SectionHeader.offset.major
  const major = input.view.getUint16(place, block.little)
  if (major !== PCAPNG_MAJOR) throw damaged(input, place, `version ${PCAPNG_MAJOR} of pcapng`, major)
}

function requireBody(input: Input, block: BlockPlace, size: number): void {
  const length = block.end - block.at
  if (length >= size) return
  const expected = `${size + TRAILER_BYTES} bytes or more in a block of type ${block.type}`
  throw damaged(input, block.at, expected, length + TRAILER_BYTES)
}

function readInterface(input: Input, block: BlockPlace): Interface {
  requireBody(input, block, InterfaceDescription.size)
  const { view } = input
  const { at, little } = block
  const { offset } = InterfaceDescription
  let resolution = RESOLUTION_DEFAULT
  let offsetSeconds = 0n
  for (const option of options(input, block, at + InterfaceDescription.size)) {
    if (option.code === OptionCode.INTERFACE_RESOLUTION) {
      requireValue(input, option, 1)
      resolution = view.getUint8(option.at)
    } else if (option.code === OptionCode.INTERFACE_TIME_OFFSET) {
      requireValue(input, option, 8)
      offsetSeconds = view.getBigInt64(option.at, little)
    }
  }
  const exponent = BigInt(resolution & ~RESOLUTION_BINARY)
  return {
    linkType: view.getUint16(at + offset.linkType, little),
    snapLength: view.getUint32(at + offset.snapLength, little),
    unitsPerSecond: (resolution & RESOLUTION_BINARY) !== 0 ? 2n ** exponent : 10n ** exponent,
    offsetSeconds,
  }
}

/** An Enhanced Packet Block, or the legacy Packet Block, whose fields lie at the same places but for the first. */
function timedPacket(input: Input, block: BlockPlace, interfaces: Interface[], base: number): Packet {
  requireBody(input, block, EnhancedPacket.size)
  const { view } = input
  const { at, little } = block
  const { offset } = EnhancedPacket
  const legacy = block.type === BlockType.LEGACY_PACKET
  const indexAt = at + (legacy ? LegacyPacket.offset.interfaceIndex : offset.interfaceIndex)
  const index = legacy ? view.getUint16(indexAt, little) : view.getUint32(indexAt, little)
  const source = interfaceOf(input, interfaces, index, indexAt)
  const captured = view.getUint32(at + offset.capturedLength, little)
  const data = at + EnhancedPacket.size
  if (captured > block.end - data) {
    throw damaged(input, at + offset.capturedLength, `a length of at most ${block.end - data}`, captured)
  }
  const high = view.getUint32(at + offset.timeHigh, little)
  const low = view.getUint32(at + offset.timeLow, little)
  const packet: Packet = {
    timeUs: microseconds(high, low, source),
    linkType: source.linkType,
    interfaceIndex: base + index,
    data: input.bytes.subarray(data, data + captured),
    originalLength: Math.max(captured, view.getUint32(at + offset.originalLength, little)),
  }
  readPacketOptions(input, block, data + padded(captured), packet)
  return packet
}

/** Its data is as long as the packet was, or as the first interface allows; the block does not say. */
function simplePacket(input: Input, block: BlockPlace, interfaces: Interface[], base: number): Packet {
  requireBody(input, block, SimplePacket.size)
  const lengthAt = block.at + SimplePacket.offset.originalLength
  const source = interfaceOf(input, interfaces, 0, block.at)
  const originalLength = input.view.getUint32(lengthAt, block.little)
  const captured = source.snapLength === 0 ? originalLength : Math.min(originalLength, source.snapLength)
  const data = block.at + SimplePacket.size
  if (captured > block.end - data) {
    throw damaged(input, lengthAt, `a length of at most ${block.end - data}`, captured)
  }
  return {
    timeUs: 0,
    linkType: source.linkType,
    interfaceIndex: base,
    data: input.bytes.subarray(data, data + captured),
    originalLength,
  }
}

function interfaceOf(input: Input, interfaces: Interface[], index: number, at: number): Interface {
  const source = interfaces[index]
  if (source !== undefined) return source
  const expected = `a packet of one of the ${interfaces.length} interfaces that its section described before`
  throw damaged(input, at, expected, `interface ${index}`)
}

/** Whole seconds apart from the rest, so that nanoseconds of today come out exact to the last bit of a double. */
function microseconds(high: number, low: number, source: Interface): number {
  const units = (BigInt(high) << 32n) | BigInt(low)
  const seconds = units / source.unitsPerSecond
  const rest = units % source.unitsPerSecond
  return Number(seconds + source.offsetSeconds) * 1e6 + (Number(rest) * 1e6) / Number(source.unitsPerSecond)
}

function readPacketOptions(input: Input, block: BlockPlace, from: number, packet: Packet): void {
  for (const option of options(input, block, from)) {
    if (option.code === OptionCode.COMMENT) {
      // A copy, because a decoder takes no shared memory.
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(
        input.bytes.slice(option.at, option.at + option.length),
      )
      packet.comment = packet.comment === undefined ? text : `${packet.comment}\n${text}`
    } else if (option.code === OptionCode.PACKET_FLAGS) {
      requireValue(input, option, 4)
      const direction = input.view.getUint32(option.at, block.little) & FLAGS_DIRECTION_MASK
      if (direction === FLAGS_INBOUND) packet.direction = 'in'
      else if (direction === FLAGS_OUTBOUND) packet.direction = 'out'
    }
  }
}

interface OptionPlace {
  readonly code: number
  /** Where its value is. */
  readonly at: number
  readonly length: number
}

/** The options from `from` to the end of the block's body or to their own end, whichever is first. */
function* options(input: Input, block: BlockPlace, from: number): Generator<OptionPlace> {
  const { view } = input
  let place = from
  while (block.end - place >= OptionHeader.size) {
    const code = view.getUint16(place, block.little)
    if (code === OptionCode.END) return
    const lengthAt = place + OptionHeader.offset.length
    const length = view.getUint16(lengthAt, block.little)
    const at = place + OptionHeader.size
    if (padded(length) > block.end - at) {
      throw damaged(input, lengthAt, `an option of at most ${block.end - at} bytes`, length)
    }
    yield { code, at, length }
    place = at + padded(length)
  }
}

function requireValue(input: Input, option: OptionPlace, length: number): void {
  if (option.length === length) return
  const lengthAt = option.at - OptionHeader.size + OptionHeader.offset.length
  throw damaged(input, lengthAt, `a length of ${length} for option ${option.code}`, option.length)
}
