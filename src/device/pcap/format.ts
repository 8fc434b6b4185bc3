// The two capture file formats, as tables: classic pcap (draft-ietf-opsawg-pcap) and pcapng
// (draft-ietf-opsawg-pcapng). For the reader and the writer beside this file; nobody else needs them.
//
// A file is in the byte order of the machine that wrote it, so the tables are used for their offsets and sizes with
// a DataView, and never through cursors, which know the order of this machine only.
import { bytes, struct, u16, u32 } from '../../base/struct.ts'

export type CaptureFormat = 'pcap' | 'pcapng'

/** Which way a packet went, seen from the machine that captured it. Only pcapng can say. */
export type Direction = 'in' | 'out'

/** What a packet begins with (the registry of LINKTYPE_ values). Others are carried as their number. */
export const LinkType = {
  /** An Ethernet header, without preamble and frame check sequence. */
  ETHERNET: 1,
  /** An IPv4 or IPv6 header; the version nibble says which. */
  RAW: 101,
} as const
export type LinkType = (typeof LinkType)[keyof typeof LinkType]

/** The most bytes of a packet that a writer keeps: what tcpdump takes for "all of it". */
export const SNAP_LENGTH_MAX = 262_144
/** A record or block that claims to be longer than this is damage, not data. */
export const BLOCK_BYTES_MAX = 16 * 1024 * 1024
/** A longer comment is cut between two characters. */
export const COMMENT_BYTES_MAX = 4096

// Classic pcap: one header, then records without padding.

/** The first word of a file whose records count microseconds, read in the file's byte order. */
export const PCAP_MICROSECONDS = 0xa1b2c3d4
/** The same for nanoseconds. */
export const PCAP_NANOSECONDS = 0xa1b23c4d
export const PCAP_MAJOR = 2
/** Before 2.4 the two lengths of a record were written the other way round by some systems. */
export const PCAP_MINOR = 4

export const PcapHeader = struct({
  magic: u32, //       0
  major: u16, //       4
  minor: u16, //       6
  zone: u32, //        8  always 0
  accuracy: u32, //   12  always 0
  snapLength: u32, // 16
  linkType: u32, //   20  the low half; the high half may tell the length of a frame check sequence
})

export const PcapRecord = struct({
  seconds: u32, //         0
  fraction: u32, //        4  microseconds or nanoseconds
  capturedLength: u32, //  8
  originalLength: u32, // 12
})

// pcapng: blocks, each a multiple of 4 bytes long, with its length at both ends.

export const BlockType = {
  INTERFACE: 1,
  /** The Packet Block that the Enhanced Packet Block replaced; read, never written. */
  LEGACY_PACKET: 2,
  SIMPLE_PACKET: 3,
  ENHANCED_PACKET: 6,
  /** Reads the same in both byte orders, and is not left alone by a transfer that mangles line ends. */
  SECTION: 0x0a0d0d0a,
} as const

/** Tells the byte order of a section. */
export const BYTE_ORDER = 0x1a2b3c4d
export const PCAPNG_MAJOR = 1
/** Type and length before the body, and the length again after it. */
export const BLOCK_BYTES_MIN = 12
export const TRAILER_BYTES = 4
/** The unit of time where an interface does not name one: 10^-6 s. */
export const RESOLUTION_DEFAULT = 6
/** 10^-9 s. */
export const RESOLUTION_NANOSECONDS = 9
/** A resolution with this bit is a negative power of 2, else of 10. */
export const RESOLUTION_BINARY = 0x80

export const Block = struct({
  type: u32, //    0
  length: u32, //  4  of the whole block
})

export const SectionHeader = struct({
  type: u32, //                0
  length: u32, //              4
  byteOrder: u32, //           8
  major: u16, //              12
  minor: u16, //              14
  sectionLength: bytes(8), // 16  all ones: not told
})

export const InterfaceDescription = struct({
  type: u32, //        0
  length: u32, //      4
  linkType: u16, //    8
  reserved: u16, //   10
  snapLength: u32, // 12  0: no limit
})

export const EnhancedPacket = struct({
  type: u32, //            0
  length: u32, //          4
  interfaceIndex: u32, //  8  within the section
  timeHigh: u32, //       12
  timeLow: u32, //        16
  capturedLength: u32, // 20
  originalLength: u32, // 24
})

export const SimplePacket = struct({
  type: u32, //            0
  length: u32, //          4
  originalLength: u32, //  8
})

export const LegacyPacket = struct({
  type: u32, //            0
  length: u32, //          4
  interfaceIndex: u16, //  8
  drops: u16, //          10
  timeHigh: u32, //       12
  timeLow: u32, //        16
  capturedLength: u32, // 20
  originalLength: u32, // 24
})

/** An option: its code and the length of its value, then the value, padded to a multiple of 4 bytes. */
export const OptionHeader = struct({
  code: u16, //    0
  length: u16, //  2
})

/** Codes mean what they mean in their block only, except the first two, which are the same everywhere. */
export const OptionCode = {
  END: 0,
  COMMENT: 1,
  SECTION_APPLICATION: 4,
  INTERFACE_NAME: 2,
  INTERFACE_RESOLUTION: 9,
  INTERFACE_TIME_OFFSET: 14,
  /** Of an enhanced and of a legacy packet. */
  PACKET_FLAGS: 2,
} as const

export const FLAGS_DIRECTION_MASK = 3
export const FLAGS_INBOUND = 1
export const FLAGS_OUTBOUND = 2

/** The next multiple of 4, where whatever follows in a pcapng block begins. */
export function padded(length: number): number {
  return (length + 3) & ~3
}
