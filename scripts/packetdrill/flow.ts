// What a script calls by numbers of its own: one flow between the host under test and the remote. The script's sequence numbers begin where
// its SYNs say, at 0 nearly always; the host's are as random as its initial sequence numbers are, and the remote's lie just before the end of
// the sequence space, so that long scripts see it wrap.
import type { Packet } from './script.ts'
import type { Written } from './stream.ts'

/** Wraps after 6000 bytes. */
const PEER_ISS = 2 ** 32 - 6000

/** Where a sequence space begins: on the wire, and in the script's SYN. */
class Origin {
  live: number
  script = 0

  constructor(live: number) {
    this.live = live
  }

  /** The number of a SYN is the script's own; all others count from it, as tcpdump prints them. */
  toLive(number: number, isSyn: boolean): number {
    return (number - (isSyn ? this.script : 0) + this.live) >>> 0
  }

  toScript(number: number, isSyn: boolean): number {
    return (number - this.live + (isSyn ? this.script : 0)) >>> 0
  }
}

export interface FlowEnds {
  readonly protocol: 'tcp' | 'udp'
  readonly localAddress: string
  readonly remoteAddress: string
  readonly localPort: number
  readonly remotePort: number
}

export class Flow {
  readonly ends: FlowEnds
  /** The host's sequence numbers, and the remote's. */
  readonly host = new Origin(0)
  readonly peer = new Origin(PEER_ISS)
  /** The PCB of the connection, in the machine's memory; 0: none yet. */
  pcb: () => number = () => 0
  /** What its program has written; undefined: nobody has it. */
  written: Written | undefined = undefined
  /** Of UDP: what was sent, and not seen yet. */
  readonly datagrams: Uint8Array[] = []
  /** A SYN of the remote was seen, and one of the host. */
  isBegun = false
  #isHostBegun = false
  /** Outbound timestamps, by the number in the script. */
  readonly #stamps = new Map<number, number>()
  #first: { readonly script: number; readonly live: number } | undefined = undefined

  constructor(ends: FlowEnds) {
    this.ends = ends
  }

  /** The host has sent a SYN of this number: the script says what it calls it. One that is sent again has the same name. */
  beginHost(number: number, expected: Packet): void {
    if (this.#isHostBegun && this.host.live === number) return
    this.#isHostBegun = true
    this.host.live = number
    if (expected.kind === 'tcp' && expected.flags.includes('S')) this.host.script = expected.start
  }

  /** An outbound segment was seen that has `live` where the script has `script`. */
  noteStamp(script: number, live: number): void {
    this.#stamps.set(script, live)
    this.#first ??= { script, live }
  }

  /** What an outbound timestamp is in the script's numbers: those begin where the script's first is. */
  stampToScript(live: number): number {
    return this.#first === undefined ? live : (live - this.#first.live + this.#first.script) >>> 0
  }

  /** Undefined: the script has had no such outbound timestamp. `isScaled`: then one is computed. */
  echoToLive(script: number, isScaled: boolean): number | undefined {
    const exact = this.#stamps.get(script)
    if (exact !== undefined || this.#first === undefined || !isScaled) return exact
    return (script - this.#first.script + this.#first.live) >>> 0
  }
}
