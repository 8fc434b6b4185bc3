import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { Random } from '../base/random.ts'
import { u32 } from '../base/struct.ts'
import { ByHand, simulated, start, sum } from '../machine/testing/sim.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import { readHandoffs } from './handoff.ts'
import { lockClass } from './lock.ts'
import { EASYNC, MessageFlag, MessageHeader, message, Plain } from './message.ts'
import { Mutex } from './mutex.ts'
import { FREE_PORT, NULL_PORT, PANIC_PORT, type Port, type PortId } from './port.ts'

const Number32 = message('test.number', { value: u32, sender: u32 })
const { DONE, QUEUED, PRIORITY, DROPABLE, ABORTABLE } = MessageFlag

/** What ran because of a receipt or an abort, on which CPU. */
const LOG = Symbol('log')
const log = (cpu: Cpu) => cpu.slot<number[]>(LOG, () => [])
const NOTE = define('test.port.note', (cpu, message) => log(cpu).push(message))
const PUT_ONLY = define('test.port.putOnly', (cpu, message) => {
  log(cpu).push(message)
  cpu.ports.reply(message, Errno.EBUSY)
})

/** The model of one message. */
interface Letter {
  readonly address: number
  readonly origin: number
  /** Where it is: at home, on its way or queued, or with who took it. */
  place: 'home' | 'away' | 'taken'
  owner: number
  sync: boolean
  answer: number
}
type Flight = { readonly kind: 'put'; readonly port: number } | { readonly kind: 'complete' }

/**
 * Ports against plain arrays: three CPUs, two thread ports on each and one for replies, and every verb at random.
 * A delivery to a CPU is an operation of its own, so that anything may happen while messages are on their way.
 */
class PortModel {
  readonly machine = new ByHand(3, { ringEntries: 256 })
  readonly random: Random
  /** Two for messages, one for replies, of each CPU. */
  readonly ports: Port[] = []
  readonly queues: { priority: Letter[]; ordinary: Letter[] }[] = []
  readonly flights: { letter: Letter; flight: Flight; receipt: boolean }[][][]
  readonly letters: Letter[] = []
  readonly receipts: number[][] = [[], [], []]
  dropped = 0

  constructor(seed: number) {
    this.random = new Random(seed)
    this.flights = [0, 1, 2].map(() => [[], [], []])
    for (const cpu of this.machine.cpus) {
      for (let i = 0; i < 3; i++) {
        this.ports.push(cpu.ports.create(i === 2 ? { replyOnly: true } : {}))
        this.queues.push({ priority: [], ordinary: [] })
      }
      for (let i = 0; i < 12; i++) {
        const address = cpu.ports.allocate(Plain, this.ports[cpu.index * 3 + 2]!.id)
        if (this.random.chance(0.3)) cpu.ports.setFlags(address, PRIORITY)
        if (this.random.chance(0.5)) cpu.ports.setFlags(address, DROPABLE)
        this.letters.push({ address, origin: cpu.index, place: 'home', owner: cpu.index, sync: false, answer: 0 })
      }
    }
  }

  cpu(index: number): Cpu {
    return this.machine.cpus[index]!
  }

  home(port: number): number {
    return Math.floor(port / 3)
  }

  pick(place: Letter['place']): Letter | undefined {
    const candidates = this.letters.filter((letter) => letter.place === place)
    return candidates[this.random.below(candidates.length)]
  }

  /** Any port that takes messages. */
  target(): number {
    return this.random.below(3) * 3 + this.random.below(2)
  }

  /** The letter goes from a CPU to a port: at once on the same CPU, else by the ring. */
  put(from: number, port: number, letter: Letter, receipt: boolean): void {
    letter.place = 'away'
    if (this.home(port) === from) this.arrive(port, letter, receipt)
    else this.flights[from]![this.home(port)]!.push({ letter, flight: { kind: 'put', port }, receipt })
  }

  arrive(port: number, letter: Letter, receipt: boolean): void {
    const isPriority = (this.machine.memory.i32[letter.address >> 2]! & PRIORITY) !== 0
    const queue = this.queues[port]!
    queue[isPriority ? 'priority' : 'ordinary'].push(letter)
    if (receipt) this.receipts[this.home(port)]!.push(letter.address)
  }

  send(): void {
    const letter = this.pick('home')
    if (letter === undefined) return
    const { ports } = this.cpu(letter.origin)
    const port = this.target()
    const receipt = this.random.chance(0.2)
    if (receipt) ports.setReceipt(letter.address, NOTE)
    letter.sync = this.random.chance(0.3)
    if (letter.sync) assert.equal(ports.begin(this.ports[port]!.id, letter.address), EASYNC)
    else ports.send(this.ports[port]!.id, letter.address)
    this.put(letter.origin, port, letter, receipt)
  }

  /** Takes the next message: the model's next and no other. */
  take(): void {
    const port = this.random.below(9)
    const { ports } = this.cpu(this.home(port))
    const { priority, ordinary } = this.queues[port]!
    const expected = priority[0] ?? ordinary[0]
    assert.equal(ports.peek(this.ports[port]!), expected?.address ?? 0)
    assert.equal(ports.get(this.ports[port]!), expected?.address ?? 0)
    if (expected === undefined) return
    if (priority.length > 0) priority.shift()
    else ordinary.shift()
    if (port % 3 === 2) this.comeHome(expected)
    else {
      expected.place = 'taken'
      expected.owner = this.home(port)
    }
  }

  comeHome(letter: Letter): void {
    letter.place = 'home'
    assert.equal(this.cpu(letter.origin).ports.isDone(letter.address), true)
    assert.equal(this.cpu(letter.origin).ports.error(letter.address), letter.answer)
  }

  reply(): void {
    const letter = this.pick('taken')
    if (letter === undefined) return
    letter.answer = this.random.below(100)
    this.cpu(letter.owner).ports.reply(letter.address, letter.answer)
    letter.place = 'away'
    const isHere = letter.owner === letter.origin
    if (!letter.sync) this.put(letter.owner, letter.origin * 3 + 2, letter, false)
    else if (isHere) this.comeHome(letter)
    else this.flights[letter.owner]![letter.origin]!.push({ letter, flight: { kind: 'complete' }, receipt: false })
  }

  forward(): void {
    const letter = this.pick('taken')
    if (letter === undefined) return
    const port = this.target()
    this.cpu(letter.owner).ports.forward(this.ports[port]!.id, letter.address)
    this.put(letter.owner, port, letter, false)
  }

  /** Takes a message out of the queue that it is in, wherever it stands there. */
  drop(): void {
    const port = this.target()
    const queue = this.queues[port]![this.random.chance(0.5) ? 'priority' : 'ordinary']
    const index = this.random.below(queue.length)
    const letter = queue[index]
    if (letter === undefined) return
    const { ports } = this.cpu(this.home(port))
    if ((this.machine.memory.i32[letter.address >> 2]! & DROPABLE) === 0) {
      assert.throws(() => ports.drop(this.ports[port]!, letter.address), AssertionFailure)
      return
    }
    ports.drop(this.ports[port]!, letter.address)
    queue.splice(index, 1)
    this.dropped++
    // As if it had never been sent: its originator may send it again.
    letter.place = 'home'
    assert.equal(ports.isDone(letter.address), true)
  }

  deliver(target = this.random.below(3)): void {
    for (const cpu of this.machine.cpus) cpu.ipi.flush()
    this.cpu(target).ipi.drain()
    for (const source of [0, 1, 2]) {
      const flights = this.flights[source]![target]!
      for (const { letter, flight, receipt } of flights) {
        if (flight.kind === 'put') this.arrive(flight.port, letter, receipt)
        else this.comeHome(letter)
      }
      flights.length = 0
    }
  }

  check(): void {
    this.ports.forEach((port, i) => {
      const { priority, ordinary } = this.queues[i]!
      const { ports } = this.cpu(this.home(i))
      assert.equal(ports.depth(port), priority.length + ordinary.length)
      const expected = [...priority, ...ordinary].map((letter) => letter.address)
      assert.deepEqual(this.cpu(0).ports.queued(port.id), expected)
    })
    for (const cpu of this.machine.cpus) assert.deepEqual(log(cpu), this.receipts[cpu.index])
  }

  /** Brings everything home. */
  finish(): void {
    for (let round = 0; round < 2000 && this.letters.some((letter) => letter.place !== 'home'); round++) {
      for (const cpu of [0, 1, 2]) this.deliver(cpu)
      for (let i = 0; i < 20; i++) this.take()
      this.reply()
    }
    assert.ok(this.letters.every((letter) => letter.place === 'home'))
    for (const { origin, address } of this.letters) this.cpu(origin).slab.free(address)
  }
}

describe('port', () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) {
    test(`send, begin, forward, reply, drop, priority and receipt do as plain arrays do (seed ${seed})`, () => {
      const model = new PortModel(seed)
      const verbs = ['send', 'send', 'take', 'reply', 'forward', 'drop', 'deliver'] as const
      for (let op = 0; op < 1500; op++) {
        model[verbs[model.random.below(verbs.length)]!]()
        model.check()
      }
      model.finish()
      const { machine } = model
      assert.equal(sum(machine, 'messagesDropped'), model.dropped)
      assert.ok(model.dropped > 5 && sum(machine, 'messagesForwarded') > 20)
      assert.equal(sum(machine, 'orderViolations'), 0)
      assert.equal(
        machine.cpus.reduce((live, cpu) => live + cpu.slab.live, 0),
        0,
      )
    })
  }

  test('a send to an idle handler port of the same CPU is a call', () => {
    const { cpus } = new ByHand(1)
    const { ports, count, counterPage } = cpus[0]!
    const seen: number[] = []
    const port = ports.create({ handler: (message) => seen.push(message) && Errno.EAGAIN })
    const replies = ports.create()
    const letter = ports.allocate(Plain, replies.id)
    ports.send(port.id, letter)
    assert.deepEqual(seen, [letter])
    assert.equal(ports.get(replies), letter, 'the answer comes back all the same')
    assert.equal(ports.error(letter), Errno.EAGAIN)
    assert.equal(ports.begin(port.id, letter), Errno.EAGAIN, 'and of a synchronous call at once')
    assert.equal(ports.depth(replies), 0)
    counterPage.fold()
    assert.equal(count[K.messagesDirect], 2)
  })

  test('a direct call never overtakes what is queued', () => {
    const machine = new ByHand(1)
    const { ports } = machine.cpus[0]!
    const seen: number[] = []
    const port: Port = ports.create({
      handler: (message) => {
        seen.push(message)
        // From within the handler the port is not idle.
        if (seen.length === 1) for (const next of letters.slice(1)) ports.send(port.id, next)
        return 0
      },
    })
    const letters = [0, 1, 2].map(() => ports.allocate(Plain, NULL_PORT))
    ports.send(port.id, letters[0]!)
    assert.equal(ports.depth(port), 2)
    const late = ports.allocate(Plain, NULL_PORT)
    ports.send(port.id, late)
    machine.settle()
    assert.deepEqual(seen, [...letters, late])
  })

  test('a deferred port queues also what its own CPU sends', () => {
    const machine = new ByHand(1)
    const { ports } = machine.cpus[0]!
    let served = 0
    const port = ports.create({ dispatch: 'deferred', handler: () => served++ & 0 })
    ports.send(port.id, ports.allocate(Plain))
    assert.deepEqual([served, ports.depth(port)], [0, 1])
    machine.settle()
    assert.deepEqual([served, ports.depth(port)], [1, 0])
  })

  test('replies are served by `onReply`, with the answer of the handler', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const answers: number[] = []
    const replies = a.ports.create({ onReply: (message) => void answers.push(a.ports.error(message)) })
    let code = 0
    const port = b.ports.create({ handler: () => code++ })
    for (let i = 0; i < 3; i++) a.ports.send(port.id, a.ports.allocate(Plain, replies.id))
    machine.settle()
    assert.deepEqual(answers, [0, 1, 2])
  })

  test('a message whose reply goes to FREE_PORT goes home to its slab, from wherever it ended', () => {
    const machine = new ByHand(3)
    const [a, b, c] = [machine.cpus[0]!, machine.cpus[1]!, machine.cpus[2]!]
    const last = c.ports.create({ handler: () => 0 })
    const first = b.ports.create({ handler: (message) => b.ports.forward(last.id, message) ?? EASYNC })
    for (let i = 0; i < 100; i++) a.ports.send(first.id, a.ports.allocate(Plain, FREE_PORT))
    machine.settle()
    a.slab.collect()
    assert.equal(a.slab.live, 0)
    assert.equal(sum(machine, 'messagesReplied'), 100)
  })

  test('with NULL_PORT as its reply port a message becomes done where it is', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const port = b.ports.create({ handler: () => Errno.EIO })
    const letter = a.ports.allocate(Plain, NULL_PORT)
    a.ports.send(port.id, letter)
    machine.turn(0)
    assert.equal(a.ports.isDone(letter), false)
    machine.turn(1)
    assert.equal(a.ports.isDone(letter), true)
    assert.equal(a.ports.error(letter), Errno.EIO)
  })

  test('a put-only port runs on the CPU of each sender', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const port = a.ports.createPutOnly(PUT_ONLY, 'here and there')
    const replies = b.ports.create()
    const letter = b.ports.allocate(Plain, replies.id)
    b.ports.send(b.ports.lookup('here and there'), letter)
    assert.equal(b.ports.lookup('here and there'), port.id)
    assert.deepEqual([log(a), log(b)], [[], [letter]])
    assert.equal(b.ports.get(replies), letter)
    assert.equal(b.ports.error(letter), Errno.EBUSY)
  })

  test('a message that is under way, queued or kept by its target is not sent again', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const port = b.ports.create()
    const letter = a.ports.allocate(Plain, NULL_PORT)
    const sendAgain = () => a.ports.send(port.id, letter)
    sendAgain()
    assert.throws(sendAgain, AssertionFailure)
    machine.settle()
    assert.throws(sendAgain, AssertionFailure)
    assert.throws(() => b.ports.reply(letter), AssertionFailure, 'nor answered while it is queued')
    assert.equal(b.ports.get(port), letter)
    assert.throws(sendAgain, AssertionFailure)
    b.ports.reply(letter)
    assert.throws(() => b.ports.reply(letter), AssertionFailure, 'nor answered twice')
    assert.throws(() => b.ports.forward(port.id, letter), AssertionFailure, 'nor forwarded when it is done')
    sendAgain()
  })

  test('nothing may be sent to the panic port, and no message to a port for replies', () => {
    const { ports } = new ByHand(1).cpus[0]!
    const replies = ports.create({ replyOnly: true })
    assert.throws(() => ports.send(PANIC_PORT, ports.allocate(Plain)), AssertionFailure)
    assert.throws(() => ports.send(replies.id, ports.allocate(Plain)), AssertionFailure)
  })

  test('a port that closes answers what is queued with ECANCELED, and what comes later with ENXIO', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const port = b.ports.create()
    const send = () => {
      const letter = a.ports.allocate(Plain, NULL_PORT)
      a.ports.send(port.id, letter)
      return letter
    }
    const queued = send()
    machine.settle()
    const underWay = send()
    machine.turn(0)
    b.ports.close(port)
    machine.settle()
    const later = send()
    machine.settle()
    const errors = [queued, underWay, later].map((letter) => a.ports.error(letter))
    assert.deepEqual(errors, [Errno.ECANCELED, Errno.ENXIO, Errno.ENXIO])
    assert.throws(() => a.ports.close(port), AssertionFailure, 'only its own CPU closes a port')
  })

  test('a port that takes the place of one that was just closed gets its messages itself', () => {
    const machine = new ByHand(1)
    const { ports } = machine.cpus[0]!
    const served: string[] = []
    const old = ports.create({ dispatch: 'deferred', handler: () => served.push('old') & 0 })
    ports.send(old.id, ports.allocate(Plain))
    ports.close(old)
    // A number is used again when no other is left.
    let young = old
    do young = ports.create({ dispatch: 'deferred', handler: () => served.push('young') & 0 })
    while (young.id !== old.id)
    ports.send(young.id, ports.allocate(Plain))
    machine.settle()
    assert.deepEqual(served, ['young'])
  })

  test('a port is found by its name on every CPU, and an unknown name is told those that there are', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    assert.throws(
      () => b.ports.lookup('echo'),
      (error) =>
        error instanceof KernelError && error.code === 'ENOENT' && /no port has a name yet/.test(error.message),
    )
    const echo = a.ports.create({ name: 'echo' })
    a.ports.create({ name: 'discard' })
    // The directory also has what is no port: the place of a lock, of a group.
    new Mutex(a.slab.allocate(64) + 8, lockClass('test.port')).enter(a)
    a.names.add('groups of a host', 4711)
    assert.equal(b.ports.find('groups of a host'), undefined)
    assert.equal(b.ports.lookup('echo'), echo.id)
    assert.equal(b.ports.home(echo.id), 0)
    assert.throws(
      () => b.ports.lookup('eko'),
      (error) =>
        error instanceof KernelError &&
        error.code === 'ENOENT' &&
        error.message === 'unknown port "eko": there are "discard", "echo"',
    )
    a.ports.close(echo)
    assert.equal(b.ports.find('echo'), undefined)
    b.ports.create({ name: 'echo' })
    assert.equal(a.ports.home(a.ports.lookup('echo')), 1)
  })

  test('a name that is in use is refused, and the refusal costs no port', () => {
    const { ports } = new ByHand(1).cpus[0]!
    ports.create({ name: 'echo' })
    for (let i = 0; i < Limits.portsPerCpu; i++) {
      assert.throws(
        () => ports.create({ name: 'echo' }),
        (error) => error instanceof KernelError && error.code === 'EEXIST',
      )
    }
    ports.create()
  })

  test('ports are bounded, the bound says so, and a closed port makes room', () => {
    const { ports } = new ByHand(2).cpus[1]!
    const all = Array.from({ length: Limits.portsPerCpu }, () => ports.create())
    assert.throws(
      () => ports.create(),
      (error) => error instanceof KernelError && error.code === 'ENFILE' && /close some/.test(error.message),
    )
    ports.close(all[500]!)
    assert.equal(ports.create().id, all[500]!.id)
  })

  test('what is dropped is counted for the two CPUs that it was between, and only there', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const port = b.ports.create()
    const letters = [0, 1, 2].map(() => a.ports.allocate(Plain))
    for (const letter of letters) {
      a.ports.setFlags(letter, DROPABLE)
      a.ports.send(port.id, letter)
    }
    machine.settle()
    b.ports.drop(port, letters[1]!)
    b.ports.reply(b.ports.get(port))
    const readings = readHandoffs(machine.memory).filter(({ point }) => point === 'port')
    assert.deepEqual(
      readings.map(({ source, target, enqueued, dequeued, dropped }) => [source, target, enqueued, dequeued, dropped]),
      [[0, 1, 3, 1, 1]],
    )
  })

  test('a message that has waited for minutes is counted as one that waited long', () => {
    const machine = new ByHand(2)
    const port = machine.cpus[1]!.ports.create()
    machine.cpus[0]!.ports.send(port.id, machine.cpus[0]!.ports.allocate(Plain))
    machine.settle()
    machine.clock.advanceTo(300e6)
    machine.turn(1)
    machine.cpus[1]!.ports.get(port)
    const [reading] = readHandoffs(machine.memory).filter(({ point }) => point === 'port')
    assert.equal(reading!.wait.total, 1)
    assert.ok(reading!.wait.max >= 300e7)
  })

  test('abort runs once, on the CPU that sent, only while the message is under way, and never without leave', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const port = b.ports.create()
    const letter = a.ports.allocate(Plain, NULL_PORT)
    assert.equal(a.ports.abort(letter), false, 'not before it is sent')
    a.ports.send(port.id, letter)
    assert.equal(a.ports.abort(letter), false, 'not when it is not abortable')
    machine.settle()
    b.ports.reply(b.ports.get(port))
    a.ports.setAbort(letter, NOTE)
    a.ports.send(port.id, letter)
    machine.settle()
    assert.throws(() => b.ports.abort(letter), AssertionFailure)
    assert.equal(a.ports.abort(letter), true)
    assert.equal(a.ports.abort(letter), false, 'once')
    assert.deepEqual([log(a), log(b)], [[letter], []])
    b.ports.reply(b.ports.get(port), Errno.ECANCELED)
    assert.equal(a.ports.abort(letter), false, 'not when it is done')
    assert.equal((machine.memory.i32[letter >> 2]! & ABORTABLE) !== 0, true)
  })

  test('the reply port may be changed before a send, and the target sees who sent and when', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const [first, second, port] = [a.ports.create(), a.ports.create(), b.ports.create()]
    const letter = a.ports.allocate(Number32, first.id)
    const cursor = Number32.cursor(machine.memory)
    cursor.at = letter
    cursor.value = 42
    a.ports.setReplyPort(letter, second.id)
    machine.turn(0)
    a.ports.send(port.id, letter)
    machine.settle()
    assert.equal(b.ports.get(port), letter)
    const header = MessageHeader.cursor(machine.memory)
    header.at = letter
    assert.deepEqual([header.origin, header.from, header.type, cursor.value], [0, 0, Number32.type, 42])
    assert.equal(header.queuedAt, 1)
    b.ports.reply(letter)
    machine.settle()
    assert.deepEqual([a.ports.get(first), a.ports.get(second)], [0, letter])
  })

  describe('bugs of others', () => {
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      test(`the race of changing a socket's port: nothing that follows the receipt overtakes it (seed ${seed})`, () => {
        // A socket goes from CPU 1 to CPU 2. Its owner sends the socket itself as a message with a receipt; senders
        // look the port up each time, and use the new one only when the receipt has run.
        const machine = simulated(4, seed, { stall: 0.05 })
        const received: number[][] = [[], []]
        const [, b, c] = machine.cpus
        const cursor = Number32.cursor(machine.memory)
        const note = (message: number) => {
          cursor.at = message
          const list = received[cursor.sender]!
          assert.equal(cursor.value, list.length, 'each sender is heard in order')
          list.push(cursor.value)
          return 0
        }
        let moved = false
        const after = c!.ports.create({
          dispatch: 'deferred',
          handler: (message) => {
            if (message !== socket) {
              assert.equal(moved, true, 'what is sent to the new port comes after the socket itself')
              return note(message)
            }
            moved = true
            return 0
          },
        })
        const before: Port = b!.ports.create({
          dispatch: 'deferred',
          // Chased: what still comes to the old port goes on to the new one.
          handler: (message) => {
            if (!moving) return note(message)
            b!.ports.forward(after.id, message)
            return EASYNC
          },
        })
        let moving = false
        const where = b!.slab.allocate(64) + 8
        machine.memory.i32[where >> 2] = before.id
        const socket = b!.ports.allocate(Plain, FREE_PORT)
        machine.memory.i32[(where >> 2) + 1] = after.id
        SOCKET_AT.set(machine.memory, where)
        b!.ports.setReceipt(socket, MOVED)
        for (const sender of [0, 3]) {
          const cpu = machine.cpus[sender]!
          start(machine, sender, function* (thread) {
            let port = machine.memory.i32[where >> 2]!
            for (let i = 0; i < 300; i++) {
              // A sender that changes over makes sure first that what it sent before is through.
              const now = Atomics.load(machine.memory.i32, where >> 2)
              if (now !== port) {
                const probe = cpu.ports.allocate(Number32, thread.port.id)
                write(cpu, probe, sender === 0 ? 0 : 1, i)
                assert.equal(yield* thread.call(port, probe), 0)
                cpu.slab.free(probe)
                port = now
                continue
              }
              const letter = cpu.ports.allocate(Number32, FREE_PORT)
              write(cpu, letter, sender === 0 ? 0 : 1, i)
              cpu.ports.send(port, letter)
              if (cpu.random.chance(0.4)) yield* thread.pause()
            }
          })
        }
        start(machine, 1, function* (thread) {
          yield* thread.delay(100 + b!.random.below(200))
          moving = true
          b!.ports.send(after.id, socket)
        })
        machine.run()
        assert.deepEqual(
          received.map((list) => list.length),
          [300, 300],
        )
        assert.equal(moved, true)
        void machine.stop()
      })
    }

    test('control chain starving data: a stream of control messages does not keep another port from being served, nor the reverse', () => {
      for (const [busy, quiet] of [
        ['control', 'data'],
        ['data', 'control'],
      ] as const) {
        const machine = new ByHand(1)
        const { ports } = machine.cpus[0]!
        const served = { control: 0, data: 0 }
        // Each message of the busy port sends the next one, with priority: it is never empty.
        const chain = ports.create({
          dispatch: 'deferred',
          handler: (message) => {
            served[busy]++
            ports.forward(chain.id, message)
            return EASYNC
          },
        })
        const other = ports.create({ dispatch: 'deferred', handler: () => served[quiet]++ & 0 })
        for (let i = 0; i < 100; i++) {
          const letter = ports.allocate(Plain)
          ports.setFlags(letter, PRIORITY)
          ports.send(chain.id, letter)
        }
        for (let turn = 1; turn <= 20; turn++) {
          ports.send(other.id, ports.allocate(Plain))
          machine.turn(0)
          assert.equal(served[quiet], turn, `${quiet} is served in each turn`)
          assert.equal(served[busy], turn * Limits.portBatch, `${busy} as well`)
        }
      }
    })

    test('one stream hogging a CPU: a flooded port is served by batches of 32, and another port and a thread get on', () => {
      const machine = new ByHand(2)
      const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
      let flooded = 0
      let other = 0
      let slices = 0
      const hog = b.ports.create({ handler: () => flooded++ & 0 })
      const quiet = b.ports.create({ handler: () => other++ & 0 })
      start(machine, 1, function* (thread) {
        for (;;) {
          slices++
          yield* thread.pause()
        }
      })
      const letters = (count: number, port: PortId) => {
        for (let i = 0; i < count; i++) a.ports.send(port, a.ports.allocate(Plain))
      }
      for (let turn = 1; turn <= 20; turn++) {
        letters(100, hog.id)
        letters(1, quiet.id)
        machine.turn(0)
        machine.turn(1)
        assert.equal(flooded, turn * 32)
        assert.equal(other, turn)
        assert.equal(slices, turn)
      }
      assert.equal(b.ports.depth(hog), 20 * (100 - 32))
      const [reading] = readHandoffs(machine.memory).filter(({ point }) => point === 'port')
      assert.ok(reading!.endedLimit >= 20, 'the batches ended because of the limit')
    })

    test('lost window update: one embedded message, sent when it is not under way, tells of every change', () => {
      // As a socket's `rcvd` message: the program reads and sends the message only if it is at home; the owner looks at
      // how much was read when it serves it.
      for (let seed = 1; seed <= 20; seed++) {
        const machine = simulated(2, seed, { stall: 0.1 })
        const [a, b] = machine.cpus
        const window = a!.slab.allocate(64) + 8
        machine.memory.i32[window >> 2] = 0
        let seen = 0
        let served = 0
        const port = b!.ports.create({
          handler: () => {
            served++
            seen = Atomics.load(machine.memory.i32, window >> 2)
            return 0
          },
        })
        // Changed while it was under way: told again when it is back.
        let told = 0
        const rcvd = a!.ports.allocate(Plain, a!.ports.create({ onReply: () => tell() }).id)
        const tell = () => {
          const read = Atomics.load(machine.memory.i32, window >> 2)
          if (read === told || (machine.memory.i32[rcvd >> 2]! & (DONE | QUEUED)) !== DONE) return
          told = read
          a!.ports.send(port.id, rcvd)
        }
        start(machine, 0, function* (thread) {
          for (let i = 0; i < 200; i++) {
            Atomics.add(machine.memory.i32, window >> 2, 1)
            tell()
            if (a!.random.chance(0.3)) yield* thread.pause()
          }
        })
        machine.run()
        assert.equal(seen, 200, `seed ${seed}`)
        assert.ok(served < 200, 'many changes share one message')
        void machine.stop()
      }
    })

    test("abort racing reply: whoever is first, the message is answered once and is its sender's again", () => {
      let aborted = 0
      let completed = 0
      for (let seed = 1; seed <= 60; seed++) {
        const machine = simulated(2, seed, { stall: 0.1 })
        const [a, b] = machine.cpus
        let kept = 0
        const work = b!.ports.create({
          handler: (message) => {
            kept = message
            b!.timers.after(20, () => finish(0))
            return EASYNC
          },
        })
        const finish = (error: number) => {
          // The request to abort and the end of the work race: the second finds nothing.
          if (kept === 0) return
          const message = kept
          kept = 0
          b!.ports.reply(message, error)
        }
        const cancel = b!.ports.create({ name: 'cancel', handler: () => finish(Errno.ECANCELED) ?? 0 })
        let answer = -1
        start(machine, 0, function* (thread) {
          const letter = a!.ports.allocate(Plain, thread.port.id)
          a!.ports.setAbort(letter, ASK_TO_CANCEL)
          a!.timers.after(a!.random.below(600), () => a!.ports.abort(letter))
          answer = yield* thread.call(work.id, letter)
          a!.slab.free(letter)
        })
        machine.run()
        assert.ok(answer === 0 || answer === Errno.ECANCELED, `${answer}`)
        if (answer === 0) completed++
        else aborted++
        a!.slab.collect()
        assert.equal(a!.slab.live, 0)
        assert.equal(cancel.closed, false)
        void machine.stop()
      }
      assert.ok(aborted > 5 && completed > 5, `${aborted} aborted, ${completed} completed`)
    })

    test('a replica failing midway: a change that goes from CPU to CPU is undone where it was made, in reverse', () => {
      for (let failing = 0; failing <= 4; failing++) {
        const machine = simulated(4, 7 + failing)
        /** Each CPU's replica of a table, and what was done to it. */
        const tables: number[][] = machine.cpus.map(() => [])
        const history: string[] = []
        const Change = message('test.change', { value: u32, undo: u32 })
        const cursor = Change.cursor(machine.memory)
        const replicas: Port[] = []
        for (const cpu of machine.cpus) {
          replicas.push(
            cpu.ports.create({
              dispatch: 'deferred',
              handler: (message) => {
                cursor.at = message
                const { index, ports } = cpu
                if (cursor.undo === 1) {
                  assert.equal(tables[index]!.pop(), cursor.value)
                  history.push(`undo ${index}`)
                  if (index === 0) return Errno.ENOSPC
                  ports.forward(replicas[index - 1]!.id, message)
                  return EASYNC
                }
                if (index === failing) {
                  history.push(`fail ${index}`)
                  if (index === 0) return Errno.ENOSPC
                  cursor.undo = 1
                  ports.forward(replicas[index - 1]!.id, message)
                  return EASYNC
                }
                tables[index]!.push(cursor.value)
                history.push(`do ${index}`)
                if (index === 3) return 0
                ports.forward(replicas[index + 1]!.id, message)
                return EASYNC
              },
            }),
          )
        }
        let answer = -1
        start(machine, 2, function* (thread) {
          const { cpu } = thread
          const change = cpu.ports.allocate(Change, thread.port.id)
          const mine = Change.cursor(machine.memory)
          mine.at = change
          mine.value = 99
          mine.undo = 0
          answer = yield* thread.call(replicas[0]!.id, change)
          cpu.slab.free(change)
        })
        machine.run()
        const doing = Array.from({ length: Math.min(failing, 4) }, (_, i) => `do ${i}`)
        const undoing = doing.map((_, i) => `undo ${i}`).reverse()
        assert.deepEqual(history, failing === 4 ? doing : [...doing, `fail ${failing}`, ...undoing])
        assert.equal(answer, failing === 4 ? 0 : Errno.ENOSPC)
        assert.deepEqual(
          tables,
          machine.cpus.map(() => (failing === 4 ? [99] : [])),
        )
        void machine.stop()
      }
    })
  })
})

function write(cpu: Cpu, letter: number, sender: number, value: number): void {
  const cursor = cpu.slot(CURSOR, () => Number32.cursor(cpu.memory))
  cursor.at = letter
  cursor.sender = sender
  cursor.value = value
}
const CURSOR = Symbol('cursor')
/** Where the machine of a test keeps its socket's port. */
const SOCKET_AT = new WeakMap<object, number>()
/** The receipt of a moving socket: from here on its port is the new one. */
const MOVED = define('test.port.moved', (cpu) => {
  const where = SOCKET_AT.get(cpu.memory)! >> 2
  Atomics.store(cpu.memory.i32, where, cpu.memory.i32[where + 1]!)
})
const ASK_TO_CANCEL = define('test.port.askToCancel', (cpu) => {
  cpu.ports.send(cpu.ports.lookup('cancel'), cpu.ports.allocate(Plain, FREE_PORT))
})
