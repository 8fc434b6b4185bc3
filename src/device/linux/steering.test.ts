// Against a folder that looks like sysfs, and a C library that says where the thread runs.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Libc } from './library.ts'
import { ReceiveSteering } from './steering.ts'

const SMALL_PACKETS = 100_000

interface Machine {
  /** Where the thread runs. */
  processor: number
  readonly system: Libc
  readonly folder: string
  readonly mask: () => string
}

/** A machine whose process may use the processors of `allowed`, a bit each, and its interface tun0 of two queues. */
function withMachine(allowed: bigint, body: (machine: Machine) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-steering-'))
  const memory = new Map<number, Uint8Array>()
  const calls: { [name: string]: (...values: number[]) => number } = {
    'int sched_getcpu()': () => machine.processor,
    'int sched_getaffinity(int, uint64_t, uintptr_t)': (_thread, bytes, pointer) => {
      const target = memory.get(pointer!)!
      for (let i = 0; i < bytes!; i++) target[i] = Number((allowed >> BigInt(8 * i)) & 0xffn)
      return bytes!
    },
  }
  const system = {
    declare: (definition: string) => calls[definition]!,
    pointer: (bytes: Uint8Array) => memory.set(memory.size + 1, bytes).size,
  } as unknown as Libc
  const path = (queue: number) => join(folder, 'tun0', 'queues', `rx-${queue}`)
  for (const queue of [0, 1]) {
    mkdirSync(path(queue), { recursive: true })
    writeFileSync(join(path(queue), 'rps_cpus'), '')
  }
  const machine: Machine = {
    processor: 1,
    system,
    folder,
    mask: () => readFileSync(join(path(1), 'rps_cpus'), 'utf8'),
  }
  try {
    body(machine)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Small packets for so many ms, half as many again while they are steered; `each` is called for each ms. */
function drive(steering: ReceiveSteering, machine: Machine, ms: number, each: () => void = () => {}): void {
  let packets = 0
  for (let now = 0; now < ms * 1000; now += 1000) {
    const isSteered = !/^0*$/.test(machine.mask())
    packets += (SMALL_PACKETS / 1000) * (isSteered ? 1.5 : 1)
    steering.look(now, packets, packets * 64)
    each()
  }
}

test('a queue is steered to all processors of the process but the one that its thread runs on', () => {
  withMachine(0xfn, (machine) => {
    const steering = ReceiveSteering.open('tun0', 1, 2, machine)!
    drive(steering, machine, 500)
    assert.equal(machine.mask(), '0000000d')
    steering.close()
  })
})

test('more than 32 processors are written in words, as the kernel reads them', () => {
  withMachine((1n << 40n) - 1n, (machine) => {
    machine.processor = 33
    const steering = ReceiveSteering.open('tun0', 1, 2, machine)!
    drive(steering, machine, 500)
    assert.equal(machine.mask(), '000000fd,ffffffff')
    steering.close()
  })
})

test('a thread that moves takes the steering along', () => {
  withMachine(0x3n, (machine) => {
    const steering = ReceiveSteering.open('tun0', 1, 1, machine)!
    drive(steering, machine, 500)
    assert.equal(machine.mask(), '00000001')
    machine.processor = 0
    steering.look(700_000, 1e6, 1e8)
    assert.equal(machine.mask(), '00000002')
    steering.close()
  })
})

test('where each processor has a thread of the machine, or the process only one processor, nothing is steered', () => {
  withMachine(0x3n, (machine) => {
    assert.equal(ReceiveSteering.open('tun0', 1, 2, machine), undefined)
  })
  withMachine(0x2n, (machine) => {
    assert.equal(ReceiveSteering.open('tun0', 1, 1, machine), undefined)
  })
})

test('where sysfs has no such interface, nothing is steered', () => {
  withMachine(0xfn, (machine) => {
    assert.equal(ReceiveSteering.open('tun1', 0, 1, machine), undefined)
  })
})
