// The other end of a connection, as a script: a test says which segment comes, and which one must follow. Sequence numbers are
// relative, on both sides: 0 is the SYN, 1 the first byte.
//
//     const peer = Peer.connect(host, { targetPort: 7 })      // SYN → SYN+ACK → ACK
//     peer.send('PA', { data: text('hello') })
//     peer.expect('A', { ack: 6 })
//
// What a test does not say is as it has to be: the next sequence number, an acknowledgment of all that was expected so far, and with
// timestamps agreed the peer's clock and the echo of the host's. Nothing is sent that the test does not send.
import assert from 'node:assert/strict'
import { type Bytes, join, type ReadTcp, tcp, tcpOption } from './frame.ts'
import { HOST, PEER, type Sent, type TestHost } from './host.ts'

export interface PeerOptions {
  /** The peer's port. Default 5000. */
  readonly port?: number
  /** The peer's address. Default PEER. */
  readonly address?: string
  /** The host's port. Default 7. */
  readonly targetPort?: number
  /** The host's address. */
  readonly target?: string
  /** The peer's initial sequence number. Default 1000. */
  readonly iss?: number
  /** What the peer's SYN announces. Default 1460; 0: no option. */
  readonly mss?: number
  /** Default: no option. */
  readonly windowScale?: number
  readonly sack?: boolean
  readonly timestamps?: boolean
  /** The window field of what the peer sends. Default 65535. */
  readonly window?: number
  /** ECN is asked for, or granted. */
  readonly ecn?: boolean
}

export interface SegmentFields {
  readonly seq?: number
  readonly ack?: number
  readonly data?: Bytes
  readonly window?: number
  readonly urgent?: number
  /** In place of the timestamps that the peer would send; `false`: none. */
  readonly timestamps?: readonly [value: number, echo: number] | false
  /** Relative to the host's ISS. */
  readonly sack?: readonly (readonly [number, number])[]
  readonly options?: Bytes | readonly number[]
  readonly service?: number
}

export interface ExpectedFields {
  readonly seq?: number
  readonly ack?: number
  readonly data?: Bytes
  /** How many bytes of data. */
  readonly length?: number
  readonly window?: number
  readonly urgent?: number
  /** Relative to the peer's ISS; `[]`: none. */
  readonly sack?: readonly (readonly [number, number])[]
}

/** A segment of the host, with relative numbers. */
export interface HostSegment extends Omit<ReadTcp, 'sack'> {
  readonly data: Bytes
  readonly sack: readonly (readonly [number, number])[]
  readonly atUs: number
  readonly sent: Sent
}

export class Peer {
  readonly host: TestHost
  readonly options: PeerOptions
  readonly iss: number
  /** The host's initial sequence number, once it was seen. */
  hostIss = 0
  /** The relative number of the peer's next byte. */
  seq = 0
  /** Up to where the peer acknowledges by default: behind what was expected last. */
  ack = 0
  window: number
  /** The host's latest timestamp. */
  hostTimestamp = 0
  /** The host's answer to the SYN, or its SYN. */
  syn: HostSegment | undefined
  #port: number
  #targetPort: number
  #synchronized = false

  constructor(host: TestHost, options: PeerOptions = {}) {
    this.host = host
    this.options = options
    this.iss = options.iss ?? 1000
    this.window = options.window ?? 65535
    this.#port = options.port ?? 5000
    this.#targetPort = options.targetPort ?? 7
  }

  /** The peer has opened a connection to a listener of the host. */
  static connect(host: TestHost, options: PeerOptions = {}): Peer {
    const peer = new Peer(host, options)
    peer.sendSyn()
    peer.expectSyn(options.ecn === true ? 'SAE' : 'SA')
    peer.send('A')
    return peer
  }

  /** The host opens a connection to the peer: its SYN is taken, and answered. */
  static accept(host: TestHost, options: PeerOptions = {}): Peer {
    const peer = Peer.awaiting(host, options)
    peer.sendSyn('SA')
    peer.expect('A', { seq: 1, ack: 1, length: 0 })
    return peer
  }

  /** The host's SYN was taken, and is not answered yet. */
  static awaiting(host: TestHost, options: PeerOptions = {}): Peer {
    const peer = new Peer(host, { targetPort: 0, ...options })
    peer.expectSyn(host.config.ecn === true ? 'SEC' : 'S')
    return peer
  }

  get hostPort(): number {
    return this.#targetPort
  }

  /** The peer's clock for timestamps: ms. */
  get timestamp(): number {
    return (Math.floor(this.host.nowUs / 1000) + 5_000_000) >>> 0
  }

  /** The options of the peer's SYN. */
  synOptions(): Bytes {
    const { mss = 1460, windowScale, sack, timestamps } = this.options
    return join(
      mss === 0 ? [] : tcpOption.mss(mss),
      windowScale === undefined ? [] : tcpOption.windowScale(windowScale),
      sack === true ? tcpOption.sackPermitted : [],
      timestamps === true ? tcpOption.timestamps(this.timestamp, this.hostTimestamp) : [],
    )
  }

  sendSyn(flags = 'S', fields: SegmentFields = {}): void {
    const ecn = this.options.ecn !== true ? '' : flags === 'S' ? 'EC' : 'E'
    this.seq = 0
    this.send(flags + ecn, { seq: 0, ack: flags.includes('A') ? 1 : 0, options: this.synOptions(), ...fields })
  }

  expectSyn(flags: string): HostSegment {
    const next = this.host.next
    assert(next?.tcp !== undefined, `the host sends ${flags}`)
    this.hostIss = next.tcp.seq
    this.#synchronized = true
    if (flags.startsWith('S') && !flags.includes('A')) {
      this.#port = next.tcp.targetPort
      this.#targetPort = next.tcp.sourcePort
    }
    this.syn = this.expect(flags, { seq: 0, length: 0 })
    return this.syn
  }

  /** The segment's packet; the peer's place in its stream moves on. */
  packet(flags: string, fields: SegmentFields = {}): Bytes {
    const { seq = this.seq, ack = this.ack, data = new Uint8Array(), window = this.window, urgent = 0 } = fields
    const { timestamps, sack = [], options = [], service = 0 } = fields
    const agreed = this.options.timestamps === true && !flags.includes('S')
    const stamps =
      timestamps === false || (timestamps === undefined && !agreed)
        ? []
        : tcpOption.timestamps(...(timestamps ?? [this.timestamp, this.hostTimestamp]))
    const absolute = sack.map(([start, end]): [number, number] => [this.#ofHost(start), this.#ofHost(end)])
    const length = data.length + (flags.includes('S') ? 1 : 0) + (flags.includes('F') ? 1 : 0)
    if (seq === this.seq) this.seq += length
    return tcp(
      {
        source: this.options.address ?? PEER,
        target: this.options.target ?? HOST,
        sourcePort: this.#port,
        targetPort: this.#targetPort,
        seq: (this.iss + seq) >>> 0,
        ack: flags.includes('A') ? this.#ofHost(ack) : 0,
        flags,
        window,
        urgent,
        service,
        tcpOptions: join(stamps, absolute.length > 0 ? tcpOption.sack(...absolute) : [], options),
      },
      data,
    )
  }

  /** Sends a segment, and lets a millisecond pass. */
  send(flags: string, fields: SegmentFields = {}): void {
    this.host.inject(this.packet(flags, fields))
  }

  /** As `send`, but it leaves only with the next `run`. */
  post(flags: string, fields: SegmentFields = {}): void {
    this.host.postPacket(this.packet(flags, fields))
  }

  /** The next frame that the host has sent is this segment of the connection. Afterwards the peer acknowledges it by default. */
  expect(flags: string, fields: ExpectedFields = {}): HostSegment {
    const next = this.host.next
    assert(next !== undefined, `the host sends ${flags}, and not nothing`)
    assert(next.tcp !== undefined, `the host sends ${flags}, and not something that is no TCP`)
    const segment = this.#read(this.host.takeNext())
    assert.equal(segment.sourcePort, this.#targetPort, 'a segment of this connection')
    assert.equal(segment.targetPort, this.#port, 'a segment of this connection')
    const { data, length, ...others } = fields
    const brief = ({ flags, seq, ack, data }: HostSegment) => `${flags} ${seq}:${seq + data.length} ack ${ack}`
    assert.equal(segment.flags, flags, `flags of ${brief(segment)}`)
    for (const [name, value] of Object.entries(others)) {
      assert.deepEqual(segment[name as keyof HostSegment], value, `${name} of ${brief(segment)}`)
    }
    if (data !== undefined) assert.deepEqual([...segment.data], [...data], `data of ${brief(segment)}`)
    if (length !== undefined) assert.equal(segment.data.length, length, `length of ${brief(segment)}`)
    const end = segment.seq + segment.data.length + (/[SF]/.test(flags) ? 1 : 0)
    if (!flags.includes('R') && end > this.ack) this.ack = end
    if (segment.timestamps !== undefined) this.hostTimestamp = segment.timestamps.value
    return segment
  }

  /** All segments of the host that are there, as they are; the peer acknowledges nothing of them by default. */
  take(): HostSegment[] {
    return this.host.take().map((sent) => {
      assert(sent.tcp !== undefined, 'the host sends TCP')
      const segment = this.#read(sent)
      if (segment.timestamps !== undefined) this.hostTimestamp = segment.timestamps.value
      return segment
    })
  }

  expectNothing(): void {
    this.host.expectNothing()
  }

  #read(sent: Sent): HostSegment {
    const header = sent.tcp!
    const ofPeer = (number: number) => this.#relative(number, this.iss)
    return {
      ...header,
      seq: this.#synchronized ? this.#relative(header.seq, this.hostIss) : header.seq,
      ack: header.flags.includes('A') ? ofPeer(header.ack) : 0,
      sack: (header.sack ?? []).map(([start, end]): [number, number] => [ofPeer(start), ofPeer(end)]),
      data: sent.payload,
      atUs: sent.atUs,
      sent,
    }
  }

  #ofHost(relative: number): number {
    return (this.hostIss + relative) >>> 0
  }

  #relative(number: number, base: number): number {
    return (number - base) | 0
  }
}
