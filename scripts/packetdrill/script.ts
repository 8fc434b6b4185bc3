// A packetdrill script as a tree: what the parser makes and the interpreter runs. Times are µs, sequence numbers as the script has them.

export interface Script {
  readonly options: readonly Option[]
  readonly events: readonly Event[]
}

/** `--name=value`; without a value it is ''. */
export interface Option {
  readonly line: number
  readonly name: string
  readonly value: string
}

export interface Event {
  readonly line: number
  readonly time: Time
  readonly action: Action
}

/**
 * When something happens: `0.5` absolute, `+0.5` after the event before, `*` whenever. With `endUs` at any time of a range. A command without
 * a time runs when it is its turn.
 */
export type Time =
  | { readonly kind: 'absolute' | 'relative'; readonly us: number; readonly endUs?: number }
  | { readonly kind: 'any' }
  | { readonly kind: 'none' }

export type Action =
  | { readonly kind: 'packet'; readonly packet: Packet }
  | { readonly kind: 'call'; readonly call: Call }
  | { readonly kind: 'command'; readonly text: string }
  | { readonly kind: 'code'; readonly text: string }

export type Packet = TcpPacket | UdpPacket | IcmpPacket

interface AnyPacket {
  readonly direction: 'in' | 'out'
  readonly service?: Service
  readonly ttl?: number
}

/** What the second byte of the IP header is, as a whole or in the two bits of ECN; ect01 is either of ECT(0) and ECT(1). */
export type Service =
  | { readonly kind: 'whole'; readonly value: number }
  | { readonly kind: 'ecn'; readonly name: 'noecn' | 'ect0' | 'ect1' | 'ce' | 'ect01' }

export interface Ports {
  readonly source: number
  readonly target: number
}

export interface TcpPacket extends AnyPacket {
  readonly kind: 'tcp'
  readonly ports?: Ports
  /** Letters as in the script: `S`, `P.`, `SEW`; `.` is ACK, '' none. */
  readonly flags: string
  readonly start: number
  readonly length: number
  readonly ack: number
  readonly window?: number
  readonly urgent: number
  /** 'any': they are not looked at. */
  readonly options: readonly TcpOption[] | 'any'
}

export type TcpOption =
  | { readonly kind: 'nop' | 'eol' | 'sackOK' }
  | { readonly kind: 'mss' | 'wscale'; readonly value: number }
  | { readonly kind: 'TS'; readonly value: number; readonly echo: number }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [start: number, end: number])[] }

export interface UdpPacket extends AnyPacket {
  readonly kind: 'udp'
  readonly ports?: Ports
  readonly length: number
}

export interface IcmpPacket extends AnyPacket {
  readonly kind: 'icmp'
  readonly type: string
  readonly code?: string
  readonly mtu?: number
  readonly id?: number
  readonly quoted?: { readonly protocol: 'tcp' | 'udp'; readonly start: number; readonly length: number }
}

/** A call of a socket function: `[...end] name(arguments) = result [ERRNO (text)]`. */
export interface Call {
  readonly name: string
  readonly args: readonly Value[]
  /** It blocks until then. */
  readonly endUs?: number
  readonly result: Value
  /** The name that is expected: `EAGAIN`. */
  readonly errno?: string
}

/** An argument of a call. */
export type Value =
  /** `...`: whatever, or what is needed */
  | { readonly kind: 'any' }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'word'; readonly name: string }
  | { readonly kind: 'string'; readonly text: string }
  /** `A|B` */
  | { readonly kind: 'or'; readonly parts: readonly Value[] }
  /** `[a, b]`, or `{a, b}` */
  | { readonly kind: 'list'; readonly items: readonly Value[] }
  /** `{name=value, …}` */
  | { readonly kind: 'record'; readonly fields: ReadonlyMap<string, Value> }
  /** `htons(80)`, `inet_addr("192.0.2.1")` */
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Value[] }
