// The program at one end of a stream. It checks each byte when it comes: what is received is a prefix of what the other end has sent, and a
// stream that ends is all of it. What it does is its EndPlan's; a server learns that from the first bytes that it receives.
import { errnoName } from '../../src/base/errno.ts'
import type { TcpSocket } from '../../src/socket/tcpsocket.ts'
import type { Agenda } from './agenda.ts'
import { HEAD_BYTES, idOf, isBeginning, type Way } from './content.ts'
import type { EndPlan, StreamPlan } from './plan.ts'
import type { World } from './world.ts'

const BUFFER_BYTES = 64 * 1024

export class End {
  readonly way: Way
  readonly host: string
  socket: TcpSocket | undefined = undefined
  /** Of a server: undefined until the client has said which stream it is. */
  stream: StreamPlan | undefined
  peer: End | undefined = undefined
  sent = 0
  received = 0
  connected = false
  /** The peer's stream has ended, and all of it was taken. */
  ended = false
  /** Its own has. */
  shut = false
  aborted = false
  /** There is no socket any more, or there never was one. */
  over = false
  errno = 0
  readonly #world: World
  readonly #agenda: Agenda
  readonly #buffer = new Uint8Array(BUFFER_BYTES)
  readonly #head = new Uint8Array(HEAD_BYTES)
  #writes = false
  #reads = false

  constructor(world: World, way: Way, host: string, agenda: Agenda, stream: StreamPlan | undefined) {
    this.#world = world
    this.way = way
    this.host = host
    this.#agenda = agenda
    this.stream = stream
  }

  /** The socket is there. Called in a turn of its CPU. */
  take(socket: TcpSocket): void {
    this.socket = socket
    socket.onConnect = (errno) => {
      if (errno === 0) this.open()
      else this.#fail(errno)
    }
    socket.onWritable = () => this.#write()
    socket.onReadable = () => {
      if (this.#world.sabotage.isDeaf?.(this) !== true) this.#read()
    }
    socket.onError = (errno) => this.#fail(errno)
    socket.onClosed = () => this.#close()
  }

  /** The connection is established. */
  open(): void {
    this.connected = true
    this.#world.note(this, 1)
    this.#write()
  }

  /** There never was a socket. */
  refused(errno: number): void {
    this.errno = errno
    this.#close()
  }

  /** The program ends at once. */
  abort(): void {
    if (this.aborted || this.over) return
    this.aborted = true
    this.#world.note(this, 2)
    this.socket?.abort()
  }

  /** The CPU of its program. */
  get cpu(): number {
    return this.#agenda.cpu.index
  }

  toString(): string {
    const { way, host, sent, received, connected, ended, shut, aborted, over, errno } = this
    const flags = Object.entries({ connected, shut, ended, aborted, over }).flatMap(([name, is]) => (is ? [name] : []))
    if (errno !== 0) flags.push(errnoName(errno))
    const sends = this.#plan?.sends ?? 0
    return `${way} of stream ${this.stream?.id ?? '?'} on ${host}: sent ${sent} of ${sends}, received ${received}, ${flags.join(' ')}`
  }

  get #plan(): EndPlan | undefined {
    return this.stream?.ends[this.way]
  }

  get #isDone(): boolean {
    return this.over || this.aborted || this.errno !== 0
  }

  #write(): void {
    const plan = this.#plan
    if (plan === undefined || !this.connected) return
    const { writer, sends } = plan
    if (writer === undefined || this.#world.isHealed) this.#put(sends)
    else if (!this.#writes) {
      this.#writes = true
      this.#paced(writer.everyUs, () => {
        this.#put(this.#world.isHealed ? sends : Math.min(this.sent + writer.bytes, sends))
        return this.sent < sends
      })
    }
    this.#perhapsEnd()
  }

  #put(until: number): void {
    const { abortsAfterSent = Number.POSITIVE_INFINITY } = this.#plan!
    const id = this.stream!.id
    while (this.sent < until && !this.#isDone) {
      const bytes = this.#world.content.piece(id, this.way, this.sent, until - this.sent)
      const count = this.socket!.send(bytes)
      this.sent += count
      if (this.sent >= abortsAfterSent) this.abort()
      if (count < bytes.length) break
    }
    this.#perhapsEnd()
  }

  /** Ends its own stream when it is time, and the socket when both have ended. */
  #perhapsEnd(): void {
    const { sends, ends } = this.#plan ?? { sends: 0, ends: 'last' }
    if (this.#isDone || !this.connected) return
    if (!this.shut && this.sent >= sends && (ends === 'first' || this.ended)) {
      this.shut = true
      this.socket!.shutdown()
    }
    if (this.shut && this.ended) this.socket!.close()
  }

  #read(): void {
    const reader = this.#plan?.reader
    if (reader === undefined || this.#world.isHealed) {
      while (this.#get(this.#buffer));
      return
    }
    if (this.#reads) return
    this.#reads = true
    this.#paced(reader.everyUs, () => {
      if (this.#world.isHealed) {
        this.#reads = false
        while (this.#get(this.#buffer));
      } else this.#reads = this.#get(this.#buffer.subarray(0, Math.min(reader.bytes, BUFFER_BYTES)))
      return this.#reads
    })
  }

  /** Takes what there is, a buffer's worth at most. False: there is no more. */
  #get(buffer: Uint8Array): boolean {
    if (this.over || this.aborted) return false
    const isKnown = this.way === 'client' || this.stream !== undefined
    const target = isKnown ? buffer : this.#head.subarray(this.received)
    const count = target.length === 0 ? 0 : this.socket!.receive(target)
    if (count > 0) {
      const bytes = target.subarray(0, count)
      this.#world.sabotage.received?.(this, bytes)
      if (isKnown) this.#check(bytes)
      this.received += count
      this.#world.note(this, 3, count)
      if (!isKnown) this.#learn()
      if (this.received >= (this.#plan?.abortsAfterReceived ?? Number.POSITIVE_INFINITY)) this.abort()
      if (this.over || this.aborted) return false
    }
    if (this.socket!.ended && !this.ended) this.#end()
    return count > 0
  }

  /** What a server that does not know its stream yet has of its first bytes. */
  #learn(): void {
    if (!isBeginning(this.#head.subarray(0, this.received))) {
      this.#world.fail(
        'foreign bytes',
        `${this}: its first bytes are nobody's: ${this.#head.subarray(0, this.received)}`,
      )
    }
    if (this.received < HEAD_BYTES) return
    this.#world.identify(this, idOf(this.#head))
    this.#write()
  }

  #check(bytes: Uint8Array): void {
    const { peer, stream } = this
    if (peer === undefined) this.#world.fail('foreign bytes', `${this}: has ${bytes.length} bytes of nobody`)
    const from = this.way === 'client' ? 'server' : 'client'
    const wrong = this.#world.content.mismatch(stream!.id, from, this.received, bytes)
    if (wrong >= 0) {
      const [is, wanted] = [bytes[wrong - this.received], this.#world.content.piece(stream!.id, from, wrong, 1)[0]]
      this.#world.fail('wrong bytes', `${this}: byte ${wrong} is ${is}, and was sent as ${wanted}`)
    }
    if (this.received + bytes.length > peer.sent) {
      this.#world.fail('more than was sent', `${this}: ${bytes.length} bytes more, and ${peer} has sent no more`)
    }
  }

  #end(): void {
    this.ended = true
    this.#world.note(this, 4)
    const { peer } = this
    if (peer !== undefined) {
      if (!peer.shut) this.#world.fail('end of a stream', `${this}: has its end, and ${peer} has not ended it`)
      if (this.received !== peer.sent)
        this.#world.fail('end of a stream', `${this}: has its end without all of ${peer}`)
    }
    this.#perhapsEnd()
  }

  #fail(errno: number): void {
    this.errno = errno
    this.#world.note(this, 5, errno)
    // What came before can still be taken.
    while (this.#get(this.#buffer));
    if (!this.aborted) this.socket!.close()
  }

  #close(): void {
    if (this.over) this.#world.fail('closed twice', `${this}: is closed once more`)
    this.over = true
    this.#world.note(this, 6)
    this.#world.open--
  }

  #paced(everyUs: number, step: () => boolean): void {
    this.#agenda.after(everyUs, () => {
      if (!this.#isDone && step()) this.#paced(everyUs, step)
    })
  }
}
