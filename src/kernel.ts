// The kernel, usable alone: `import { boot, message, u32 } from 'damselfly/kernel'`.
export { AssertionFailure, assert } from './base/assert.ts'
export type { Clock } from './base/clock.ts'
export { Errno, errnoName, KernelError } from './base/errno.ts'
export { Histogram } from './base/histogram.ts'
export { Limits } from './base/limits.ts'
export { Random } from './base/random.ts'
export {
  type Address,
  atomic,
  be16,
  be32,
  bytes,
  type Cursor,
  f64,
  i32,
  type Struct,
  struct,
  u8,
  u16,
  u32,
} from './base/struct.ts'
export {
  type CounterReading,
  type CounterSet,
  CpuCounters,
  counterSet,
  readCounters,
  total,
} from './kernel/counters.ts'
export type { Cpu, Pollable } from './kernel/cpu.ts'
export { define, type FunctionId, type RemoteFunction } from './kernel/function.ts'
export { type HandoffReading, readHandoffs } from './kernel/handoff.ts'
export { HANDOFF_POINTS, type HandoffPoint, Layout, type LayoutOptions } from './kernel/layout.ts'
export { type LockReading, type LockSiteReading, lockClass, lockSite, readLockSites, readLocks } from './kernel/lock.ts'
export { EASYNC, MessageFlag, MessageHeader, type MessageType, message, Plain } from './kernel/message.ts'
export { Mutex } from './kernel/mutex.ts'
export {
  FREE_PORT,
  type Handler,
  NULL_PORT,
  PANIC_PORT,
  type Port,
  type PortId,
  type PortOptions,
} from './kernel/port.ts'
export { recycle } from './kernel/recycle.ts'
export { Rwlock } from './kernel/rwlock.ts'
export { SharedTimerCounters, SharedTimers, type TimerGate } from './kernel/shared-timer.ts'
export { SLAB_SIZES, SlabCounters, type SlabReading } from './kernel/slab.ts'
export { channel } from './kernel/sleep.ts'
export { type Program, program, Thread, type ThreadId, type WaitOptions } from './kernel/thread.ts'
export { putTimer, type TakenTimer, Timer, type TimerSet, takeTimer } from './kernel/timer.ts'
export { Token } from './kernel/token.ts'
export {
  type Chain,
  type ChainEnd,
  chainText,
  type Frame,
  type Hop,
  type HopKind,
  hopTitle,
} from './kernel/trace/chain.ts'
export { parseTraceparent, type TraceContext, traceparentText } from './kernel/trace/context.ts'
export {
  parseTraceMode,
  portTraceMode,
  setPortTraceMode,
  setTraceMode,
  type TraceMode,
  traceMode,
  traceModeText,
} from './kernel/trace/mode.ts'
export { type PortReading, type QueuedMessage, readPorts, readQueue } from './kernel/trace/queue.ts'
export { ChainReader, type HopReading } from './kernel/trace/reader.ts'
export type { TraceId } from './kernel/trace/record.ts'
export { TraceCounters, type Tracer } from './kernel/trace/tracer.ts'
export { readWaits, type Wait, type Waits } from './kernel/trace/waits.ts'
export { decodeChain, encodeChain, TRACE_BYTES_MAX } from './kernel/trace/wire.ts'
export { boot } from './machine/boot.ts'
export { CpuFailure } from './machine/failure.ts'
export type { Machine } from './machine/machine.ts'
export type { BootOptions, CpuProgram } from './machine/options.ts'
export { SimMachine, type SimOptions, simulate } from './machine/sim.ts'
