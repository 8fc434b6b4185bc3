// Somebody in the middle of a link, who changes what two stacks say to each other: bits and fields of frames whose checksums are made right
// again, lengths that lie, options, frames cut off, laid together, doubled and said again. For the `tap` of a World.
//
// Who is in the middle can end any connection, and so only some are theirs: frames of the others pass as they are, and what would become a
// frame of theirs by a change does not pass (`protects`).
import type { Random } from '../../src/base/random.ts'
import { type Bytes, counting, get16, join, Protocol, put16, Type } from '../../src/net/testing/frame.ts'
import { repair } from '../../src/net/testing/repair.ts'

export interface MutatorOptions {
  readonly random: Random
  /** Of the frames that may be changed, 0 to 1. */
  readonly share: number
  /** Whether a port, of either end, is of a conversation that is not theirs. */
  readonly protects: (port: number) => boolean
}

const ETHER_BYTES = 14
const IP_BYTES = 20
const FRAME_BYTES_MAX = 1514
/** Frames that may be said again. */
const KEPT = 64
const ICMP_ERRORS = new Set([3, 4, 5, 11, 12])

export class Mutator {
  /** What came, and what became of it. */
  readonly counts = { came: 0, went: 0, changed: 0, dropped: 0, added: 0, spared: 0 }
  readonly #options: MutatorOptions
  readonly #kept: Bytes[] = []

  constructor(options: MutatorOptions) {
    this.#options = options
  }

  readonly tap = (frame: Bytes): readonly Bytes[] => {
    const { random, share } = this.#options
    const { counts } = this
    counts.came++
    const isProtected = this.#isProtected(frame)
    const out = isProtected || !random.chance(share) ? [frame] : this.#change(Uint8Array.from(frame))
    if (!isProtected) this.#keep(frame)
    counts.went += out.length
    return out
  }

  #keep(frame: Bytes): void {
    if (this.#kept.length < KEPT) this.#kept.push(frame)
    else this.#kept[this.#options.random.below(KEPT)] = frame
  }

  #change(frame: Bytes): Bytes[] {
    const { random } = this.#options
    const { counts } = this
    const before = this.#kept[random.below(Math.max(this.#kept.length, 1))] ?? frame
    const what = random.below(12)
    if (what === 0) {
      counts.dropped++
      return []
    }
    // Again, or what was before; both are as they were once.
    if (what === 1) {
      counts.added++
      return [frame, random.chance(0.5) ? frame : before]
    }
    const changed = Uint8Array.from(this.#changed(Uint8Array.from(frame), before))
    repair(changed, {
      totalLength: random.chance(0.7),
      transportLength: random.chance(0.7),
      ipChecksum: random.chance(0.9),
      transportChecksum: random.chance(0.9),
    })
    if (changed.length > FRAME_BYTES_MAX || this.#isProtected(changed)) {
      counts.spared++
      return [frame]
    }
    counts.changed++
    if (random.chance(0.7)) return [changed]
    counts.added++
    return random.chance(0.5) ? [changed, frame] : [frame, changed]
  }

  #changed(frame: Bytes, other: Bytes): Bytes {
    const { random } = this.#options
    const at = random.below(Math.min(frame.length, 80))
    switch (random.below(9)) {
      case 0:
        for (let flips = 1 + random.below(3); flips > 0; flips--) {
          frame[random.below(Math.min(frame.length, 80))]! ^= 1 << random.below(8)
        }
        return frame
      case 1:
        frame[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)]!
        return frame
      case 2:
        return frame.subarray(0, random.below(frame.length + 1))
      case 3:
        return join(frame, counting(random.below(200)))
      case 4:
        return join(frame.subarray(0, at), other.subarray(Math.min(at, other.length)))
      case 5:
        return lengths(random, frame)
      case 6:
        return options(random, frame)
      case 7:
        return numbers(random, frame)
      default:
        // TCP's control bits.
        if (frame.length > 47) frame[47] = random.below(256)
        return frame
    }
  }

  /** Whether somebody whom they must not touch would take it for theirs. */
  #isProtected(frame: Bytes): boolean {
    if (frame.length < ETHER_BYTES + IP_BYTES) return false
    // What ARP says is for all conversations: one wrong word ends them all.
    if (get16(frame, 12) === Type.arp) return true
    if (get16(frame, 12) !== Type.ipv4) return false
    const packet = frame.subarray(ETHER_BYTES)
    const body = packet.subarray((packet[0]! & 15) * 4)
    if (packet[9] === Protocol.icmp) {
      // An error's quote: so much of it as names a conversation.
      const isError = body.length >= 32 && ICMP_ERRORS.has(body[0]!)
      return isError && this.#areProtected(body.subarray(8 + (body[8]! & 15) * 4))
    }
    const isTransport = packet[9] === Protocol.tcp || packet[9] === Protocol.udp
    return isTransport && (get16(packet, 6) & 0x1fff) === 0 && this.#areProtected(body)
  }

  #areProtected(ports: Bytes): boolean {
    const { protects } = this.#options
    return ports.length >= 4 && (protects(get16(ports, 0)) || protects(get16(ports, 2)))
  }
}

/** One of the lengths is another. */
function lengths(random: Random, frame: Bytes): Bytes {
  if (frame.length < ETHER_BYTES + IP_BYTES + 13) return frame
  const which = random.below(4)
  if (which === 0) frame[14] = 0x40 | random.below(16)
  else if (which === 1) put16(frame, 16, random.below(2000))
  else if (which === 2) put16(frame, 38, random.below(2000))
  else frame[46] = random.below(256)
  return frame
}

/** TCP options by chance, in place of those that there are or in front of the data. */
function options(random: Random, frame: Bytes): Bytes {
  const start = ETHER_BYTES + IP_BYTES + 20
  if (frame.length < start || frame[23] !== Protocol.tcp) return frame
  const words = random.below(11)
  const kinds = [0, 1, 2, 3, 4, 5, 8, 8, 30, 254]
  const sizes = [2, 3, 4, 10, 18, 0, 1]
  const bytes = Uint8Array.from({ length: 4 * words }, () => {
    const values = random.chance(0.5) ? kinds : sizes
    return values[random.below(values.length)]!
  })
  const end = random.chance(0.5) ? start - 20 + (frame[46]! >> 4) * 4 : start
  const made = join(frame.subarray(0, start), bytes, frame.subarray(Math.min(Math.max(start, end), frame.length)))
  made[46] = (5 + words) << 4
  return made
}

/** TCP's sequence or acknowledgment number, window or urgent pointer is a little, or quite, another. */
function numbers(random: Random, frame: Bytes): Bytes {
  if (frame.length < ETHER_BYTES + IP_BYTES + 20 || frame[23] !== Protocol.tcp) return frame
  const at = [38, 42, 48, 52][random.below(4)]!
  const place = at < 48 ? at + 2 : at
  if (random.chance(0.6)) put16(frame, place, (get16(frame, place) + random.below(3000) - 1500) & 0xffff)
  else for (let i = at; i < place + 2; i++) frame[i] = random.below(256)
  return frame
}
