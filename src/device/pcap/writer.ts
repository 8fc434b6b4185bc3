// Packets as a capture file, byte by byte into one reused buffer. Read format.ts first.
// For one CPU, on its packets' way: `record` allocates nothing as long as the memory it copies from stays the same.
//
// Always little-endian, so that the same packets give the same file everywhere. Times are whole nanoseconds in
// pcapng. In classic pcap they are whole microseconds, rounded down: every program reads the microsecond magic, and
// a double holds the time of day to a quarter of a microsecond only.
import { assert } from '../../base/assert.ts'
import { Errno, KernelError } from '../../base/errno.ts'
import {
  Block,
  BlockType,
  BYTE_ORDER,
  type CaptureFormat,
  COMMENT_BYTES_MAX,
  type Direction,
  EnhancedPacket,
  FLAGS_INBOUND,
  FLAGS_OUTBOUND,
  InterfaceDescription,
  OptionCode,
  OptionHeader,
  PCAP_MAJOR,
  PCAP_MICROSECONDS,
  PCAP_MINOR,
  PCAPNG_MAJOR,
  PcapHeader,
  PcapRecord,
  padded,
  RESOLUTION_NANOSECONDS,
  SectionHeader,
  SNAP_LENGTH_MAX,
  TRAILER_BYTES,
} from './format.ts'

export interface CaptureOptions {
  format: CaptureFormat
  /** What the packets begin with; see `LinkType`. */
  linkType: number
  /** Bytes kept of each packet, 1 to 262144. The rest is cut off, and the packet's own length told. */
  snapLength: number
  /** Takes the bytes of the file, in order. The chunk is the writer's own buffer: use it before returning. */
  write(chunk: Uint8Array): void
  /** Told in a pcapng file. */
  interfaceName?: string
  /** Bytes gathered before they are handed on; 1 MiB where not given, and at least room for the largest record. */
  bufferBytes?: number
}

export interface CaptureWriter {
  /**
   * Appends the packet that lies in `u8` (which may be shared memory) at `address`.
   * A chunk whose `write` throws is lost, and the error is passed on from here, `flush` or `close`.
   * @param length bytes there are; no more than `snapLength` of them are kept
   * @param originalLength bytes the packet had on its link, at least `length`
   * @param timeUs microseconds since 1970, not negative; classic pcap ends in the year 2106
   * @param direction told in a pcapng file; classic pcap has no place for it
   * @param comment as `direction`; at most 4096 bytes of it are kept
   */
  record(
    u8: Uint8Array,
    address: number,
    length: number,
    originalLength: number,
    timeUs: number,
    direction?: Direction,
    comment?: string,
  ): void
  /** Hands on what was gathered. */
  flush(): void
  /** Flushes; takes no records any more. A second time it does nothing. */
  close(): void
}

/**
 * A writer of one file with one interface. The file's header is handed on with the first records.
 * @throws KernelError EINVAL for a link type, snap length, name or buffer size that cannot be
 */
export function createCaptureWriter(options: CaptureOptions): CaptureWriter {
  requireWhole(options.linkType, 0, 0xffff, 'The link type')
  requireWhole(options.snapLength, 1, SNAP_LENGTH_MAX, 'The snap length')
  if (options.bufferBytes !== undefined) requireWhole(options.bufferBytes, 1, 2 ** 30, 'The buffer of a capture')
  return new BufferedWriter(options)
}

function requireWhole(value: number, low: number, high: number, what: string): void {
  if (Number.isInteger(value) && value >= low && value <= high) return
  throw new KernelError(Errno.EINVAL, `${what} must be a whole number from ${low} to ${high}, not ${value}.`)
}

const LITTLE = true
const BUFFER_BYTES = 1024 * 1024
const APPLICATION = 'Damselfly'
const INTERFACE = 0

const epb = EnhancedPacket.offset
const header = PcapRecord.offset

/** Flags, an option of 4 bytes, and the end of options: all that may follow a packet besides its comment. */
const PACKET_OPTION_BYTES = OptionHeader.size + 4 + OptionHeader.size

/** What a record without comment takes at most, in either format. */
const RECORD_OVERHEAD = EnhancedPacket.size + PACKET_OPTION_BYTES + TRAILER_BYTES

/** What a comment of this many bytes takes. */
function optionBytes(length: number): number {
  return OptionHeader.size + padded(length)
}

class BufferedWriter implements CaptureWriter {
  private readonly pcapng: boolean
  private readonly snapLength: number
  private readonly write: (chunk: Uint8Array) => void
  private readonly buffer: Uint8Array
  private readonly view: DataView
  private readonly encoder = new TextEncoder()
  /** Bytes gathered; where the next record goes. */
  private used = 0
  private closed = false
  /** The memory that packets were last copied from, and a view of it: made once for each memory, not for each packet. */
  private source: Uint8Array
  private sourceView: DataView

  constructor(options: CaptureOptions) {
    this.pcapng = options.format === 'pcapng'
    this.snapLength = options.snapLength
    this.write = options.write
    const recordBytes = RECORD_OVERHEAD + padded(options.snapLength) + optionBytes(COMMENT_BYTES_MAX)
    const headerBytes = SectionHeader.size + InterfaceDescription.size + 2 * (optionBytes(COMMENT_BYTES_MAX) + 32)
    this.buffer = new Uint8Array(Math.max(options.bufferBytes ?? BUFFER_BYTES, recordBytes, headerBytes))
    this.view = new DataView(this.buffer.buffer)
    this.source = this.buffer
    this.sourceView = this.view
    if (this.pcapng) {
      this.putSection()
      this.putInterface(options.linkType, options.interfaceName)
    } else this.putHeader(options.linkType)
  }

  record(
    u8: Uint8Array,
    address: number,
    length: number,
    originalLength: number,
    timeUs: number,
    direction?: Direction,
    comment?: string,
  ): void {
    assert(!this.closed, 'a closed capture takes no packets')
    assert(address >= 0 && length >= 0 && address + length <= u8.length, 'a captured packet lies inside its memory')
    assert(originalLength >= length && originalLength <= 0xffffffff, 'a packet had all the bytes that are left of it')
    assert(timeUs >= 0 && timeUs <= Number.MAX_SAFE_INTEGER, 'a packet has a time after 1970')
    const captured = Math.min(length, this.snapLength)
    if (this.pcapng) this.putEnhanced(u8, address, captured, originalLength, timeUs, direction, comment)
    else this.putRecord(u8, address, captured, originalLength, timeUs)
  }

  flush(): void {
    if (this.used === 0) return
    const chunk = this.buffer.subarray(0, this.used)
    this.used = 0
    this.write(chunk)
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.flush()
  }

  /** Makes room for `size` bytes; never more than the buffer was made for. */
  private reserve(size: number): void {
    if (this.used + size > this.buffer.length) this.flush()
  }

  private putHeader(linkType: number): void {
    const { view } = this
    const { offset } = PcapHeader
    view.setUint32(offset.magic, PCAP_MICROSECONDS, LITTLE)
    view.setUint16(offset.major, PCAP_MAJOR, LITTLE)
    view.setUint16(offset.minor, PCAP_MINOR, LITTLE)
    view.setUint32(offset.snapLength, this.snapLength, LITTLE)
    view.setUint32(offset.linkType, linkType, LITTLE)
    this.used = PcapHeader.size
  }

  private putRecord(u8: Uint8Array, address: number, captured: number, originalLength: number, timeUs: number): void {
    this.reserve(PcapRecord.size + captured)
    const { view, used: at } = this
    const seconds = wholeSeconds(timeUs)
    assert(seconds <= 0xffffffff, 'a classic capture ends in 2106: write pcapng')
    view.setUint32(at + header.seconds, seconds, LITTLE)
    view.setUint32(at + header.fraction, Math.floor(timeUs - seconds * 1e6), LITTLE)
    view.setUint32(at + header.capturedLength, captured, LITTLE)
    view.setUint32(at + header.originalLength, originalLength, LITTLE)
    this.copy(u8, address, captured, at + PcapRecord.size)
    this.used = at + PcapRecord.size + captured
  }

  private putSection(): void {
    const { view, used: at } = this
    const { offset } = SectionHeader
    view.setUint32(at + offset.byteOrder, BYTE_ORDER, LITTLE)
    view.setUint16(at + offset.major, PCAPNG_MAJOR, LITTLE)
    view.setUint32(at + offset.sectionLength, 0xffffffff, LITTLE)
    view.setUint32(at + offset.sectionLength + 4, 0xffffffff, LITTLE)
    const options = at + SectionHeader.size
    this.endBlock(BlockType.SECTION, at, this.putText(options, OptionCode.SECTION_APPLICATION, APPLICATION), options)
  }

  private putInterface(linkType: number, name: string | undefined): void {
    const { view, used: at } = this
    const { offset } = InterfaceDescription
    view.setUint16(at + offset.linkType, linkType, LITTLE)
    view.setUint32(at + offset.snapLength, this.snapLength, LITTLE)
    const options = at + InterfaceDescription.size
    let end = this.putOption(options, OptionCode.INTERFACE_RESOLUTION, 1)
    view.setUint32(end - 4, RESOLUTION_NANOSECONDS, LITTLE)
    if (name !== undefined) end = this.putText(end, OptionCode.INTERFACE_NAME, name)
    this.endBlock(BlockType.INTERFACE, at, end, options)
  }

  private putEnhanced(
    u8: Uint8Array,
    address: number,
    captured: number,
    originalLength: number,
    timeUs: number,
    direction: Direction | undefined,
    comment: string | undefined,
  ): void {
    const commentBytes = comment === undefined ? 0 : optionBytes(COMMENT_BYTES_MAX)
    this.reserve(RECORD_OVERHEAD + padded(captured) + commentBytes)
    const { view, used: at } = this
    const data = at + EnhancedPacket.size
    const options = data + padded(captured)
    view.setUint32(at + epb.interfaceIndex, INTERFACE, LITTLE)
    this.putTime(at, timeUs)
    view.setUint32(at + epb.capturedLength, captured, LITTLE)
    view.setUint32(at + epb.originalLength, originalLength, LITTLE)
    // The padding first, as a whole word of zeros that the packet then overlaps.
    if (options !== data) view.setUint32(options - 4, 0, LITTLE)
    this.copy(u8, address, captured, data)
    let end = options
    if (direction !== undefined) {
      end = this.putOption(end, OptionCode.PACKET_FLAGS, 4)
      view.setUint32(end - 4, direction === 'in' ? FLAGS_INBOUND : FLAGS_OUTBOUND, LITTLE)
    }
    if (comment !== undefined) end = this.putText(end, OptionCode.COMMENT, comment)
    this.endBlock(BlockType.ENHANCED_PACKET, at, end, options)
  }

  /** Nanoseconds since 1970 need 61 bits: seconds x 10^9 in two halves, none of whose steps leaves 53 bits. */
  private putTime(at: number, timeUs: number): void {
    const seconds = wholeSeconds(timeUs)
    const nanoseconds = Math.round((timeUs - seconds * 1e6) * 1000) // 10^9 too: it carries below
    const upper = Math.floor(seconds / 0x10000)
    const high = upper * 1e9 // counts 2^16 ns
    const low = (seconds - upper * 0x10000) * 1e9 + nanoseconds // < 2^46
    const highCarry = Math.floor(high / 0x10000) // counts 2^32 ns
    const sum = (high - highCarry * 0x10000) * 0x10000 + low
    const sumCarry = Math.floor(sum / 0x100000000)
    this.view.setUint32(at + epb.timeHigh, highCarry + sumCarry, LITTLE)
    this.view.setUint32(at + epb.timeLow, sum - sumCarry * 0x100000000, LITTLE)
  }

  /** An option whose value (its last word zeroed) the caller fills in; gives where the next one begins. */
  private putOption(at: number, code: number, length: number): number {
    this.view.setUint16(at, code, LITTLE)
    this.view.setUint16(at + OptionHeader.offset.length, length, LITTLE)
    const end = at + optionBytes(length)
    if (length > 0) this.view.setUint32(end - 4, 0, LITTLE)
    return end
  }

  /** The one place that allocates: a packet with a comment is the exception, not the stream. */
  private putText(at: number, code: number, text: string): number {
    const value = at + OptionHeader.size
    const { written } = this.encoder.encodeInto(text, this.buffer.subarray(value, value + COMMENT_BYTES_MAX))
    this.buffer.fill(0, value + written, value + padded(written))
    this.view.setUint16(at, code, LITTLE)
    this.view.setUint16(at + OptionHeader.offset.length, written, LITTLE)
    return value + padded(written)
  }

  /** Ends the options, if there are any, and writes the type and the length at both ends. */
  private endBlock(type: number, at: number, end: number, options: number): void {
    const trailer = end === options ? end : this.putOption(end, OptionCode.END, 0)
    const length = trailer + TRAILER_BYTES - at
    this.view.setUint32(at, type, LITTLE)
    this.view.setUint32(at + Block.offset.length, length, LITTLE)
    this.view.setUint32(trailer, length, LITTLE)
    this.used = at + length
  }

  /**
   * `set(subarray)` allocates an object for each packet and costs 60 ns before its first byte, so packets up to the
   * size of an Ethernet frame go four words in a turn through views that are kept: 8 ns for 16 bytes, 53 against 90
   * for 256. At 1514 that is even in a warm cache and up to a quarter slower on cold packets (520 against 400 ns a
   * record), which is the price of no garbage. Above, `set` wins by more, and there are few. Measured on shared memory.
   */
  private copy(u8: Uint8Array, address: number, length: number, at: number): void {
    const { buffer, view } = this
    if (length > 1536) {
      buffer.set(u8.subarray(address, address + length), at)
      return
    }
    if (u8 !== this.source) {
      this.source = u8
      this.sourceView = new DataView(u8.buffer, u8.byteOffset, u8.byteLength)
    }
    const source = this.sourceView
    let i = 0
    for (; i + 16 <= length; i += 16) {
      view.setUint32(at + i, source.getUint32(address + i, LITTLE), LITTLE)
      view.setUint32(at + i + 4, source.getUint32(address + i + 4, LITTLE), LITTLE)
      view.setUint32(at + i + 8, source.getUint32(address + i + 8, LITTLE), LITTLE)
      view.setUint32(at + i + 12, source.getUint32(address + i + 12, LITTLE), LITTLE)
    }
    for (; i < length; i++) buffer[at + i] = u8[address + i]!
  }
}

/**
 * Rounded down. The division never rounds a time before a full second up to it: the step of a double below `n * 1e6`
 * is more than half a step of its quotient below `n`.
 */
function wholeSeconds(timeUs: number): number {
  return Math.floor(timeUs / 1e6)
}
