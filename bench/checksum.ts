// What copying and checksumming cost in WebAssembly and in JavaScript: the reason for the WebAssembly.
//
//     node dist/bench/checksum.js
//
// 64 B is a small packet, 1460 B a full TCP segment on Ethernet, 65160 B a super-segment of some 45 of them. All in shared
// memory, over a few different addresses, as packets lie; interleaved, so that what else the computer does hits both.
import { javascriptRoutines, type Routines, wasmRoutines } from '../src/base/routines.ts'

const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true })
const { buffer } = memory
const u8 = new Uint8Array(buffer)
const views = {
  u8,
  u16: new Uint16Array(buffer),
  i32: new Int32Array(buffer),
  u32: new Uint32Array(buffer),
  f64: new Float64Array(buffer),
  view: new DataView(buffer),
}
for (let i = 0; i < u8.length; i++) u8[i] = Math.imul(i, 2654435761) >>> 24

const repetitions = 21
/** What one repetition of one measurement takes, roughly. */
const repetitionNs = 4e6
const sizes = [64, 1460, 65160]
/** `copy aliased`: the target 6 bytes above the source modulo a page, where processors' own string copies may stumble. */
const operations = ['sum', 'copy', 'copy aliased', 'copySum', 'fill'] as const
type Operation = (typeof operations)[number]
const kinds: readonly Routines[] = [wasmRoutines(memory, true), javascriptRoutines(views)]

type Loop = (bytes: number, calls: number) => number

/** A loop of its own, from text of its own, for each measurement: else they would share one call's type feedback. */
function loop(routines: Routines, operation: Operation): Loop {
  const call = {
    sum: 'routine(source, bytes, 0)',
    copy: 'routine(target, source, bytes)',
    'copy aliased': 'routine(source + 2097152 + 6, source, bytes)',
    copySum: 'routine(target, source, bytes, 0)',
    fill: 'routine(target, i, bytes)',
  }[operation]
  const text = `return function ${routines.kind}_${operation.replace(' ', '_')}(bytes, calls) {
    let result = 0
    for (let i = 0; i < calls; i++) {
      const source = 4096 + (i & 7) * 2048 + 14
      const target = 2097152 + (i & 7) * 2048 + 64
      result = (result + ${call}) | 0
    }
    return result
  }`
  return new Function('routine', text)(operation === 'copy aliased' ? routines.copy : routines[operation]) as Loop
}

interface Measurement {
  readonly run: Loop
  readonly bytes: number
  readonly calls: number
  readonly ns: number[]
}

function time(run: Loop, bytes: number, calls: number): number {
  const start = process.hrtime.bigint()
  run(bytes, calls)
  return Number(process.hrtime.bigint() - start) / calls
}

const measurements = new Map<string, Measurement>()
for (const operation of operations) {
  for (const routines of kinds) {
    const run = loop(routines, operation)
    time(run, 1460, 50_000)
    for (const bytes of sizes) {
      time(run, bytes, 200)
      const calls = Math.max(50, Math.round(repetitionNs / time(run, bytes, 1000)))
      measurements.set(`${operation} ${bytes} ${routines.kind}`, { run, bytes, calls, ns: [] })
    }
  }
}
for (let i = 0; i < repetitions; i++) {
  for (const { run, bytes, calls, ns } of measurements.values()) ns.push(time(run, bytes, calls))
}

const figure = (ns: number): string => (ns < 100 ? ns.toFixed(1) : ns.toFixed(0))
/** The median, and what the middle half of the repetitions lies between. */
function summary(key: string): { median: number; text: string } {
  const ns = measurements.get(key)!.ns.toSorted((a, b) => a - b)
  const at = (part: number): number => ns[Math.floor((ns.length - 1) * part)]!
  return { median: at(0.5), text: `${figure(at(0.5))} (${figure(at(0.25))}-${figure(at(0.75))})` }
}

console.log(`ns per call: median of ${repetitions} (and the middle half)`)
console.log(`${'operation'.padEnd(13)}${'bytes'.padStart(7)}${'wasm'.padStart(24)}${'javascript'.padStart(24)}   ratio`)
for (const operation of operations) {
  for (const bytes of sizes) {
    const wasm = summary(`${operation} ${bytes} wasm`)
    const javascript = summary(`${operation} ${bytes} javascript`)
    const ratio = `${(javascript.median / wasm.median).toFixed(1)}x`
    const place = operation.padEnd(13) + String(bytes).padStart(7)
    console.log(`${place}${wasm.text.padStart(24)}${javascript.text.padStart(24)}${ratio.padStart(8)}`)
  }
}
