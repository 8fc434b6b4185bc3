// Hand-offs as asynchronous stacks of a debugger: Chrome DevTools, or whatever speaks its protocol, shows behind the stack of a handler
// from where the message was sent, and so on back to the origin. Read trace/tracer.ts first.
//
// Each hop is a task of console.createTask. Where sender and receiver are on one thread it is made at the send, and has the sender's stack; what
// comes from another thread gets a task whose name tells the sender, made inside of that of the hop before, which V8 takes for its cause.
// V8 keeps a stack with each task, so few are kept; those of older hops are made again by their names.
//
// Only while something is traced, and only where there is an inspector: without one nothing here runs.
import { createRequire } from 'node:module'
import type { Memory } from '../kernel/memory.ts'
import { hopTitle } from '../kernel/trace/chain.ts'
import { ChainReader } from '../kernel/trace/reader.ts'
import type { TraceId } from '../kernel/trace/record.ts'
import type { HopTasks } from '../kernel/trace/task.ts'

/** Of V8's console, where Node was built with the inspector. */
interface Task {
  run<T>(call: () => T): T
}
type CreateTask = (name: string) => Task

/** Tasks that are kept of a machine on a thread. */
export const TASKS_MAX = 1024
/** Hops that are shown behind a stack: as many as Chrome DevTools asks for. */
const HOPS_MAX = 32

export class InspectorTasks implements HopTasks {
  readonly #create: CreateTask
  readonly #reader: ChainReader
  /** The oldest first. */
  readonly #tasks = new Map<TraceId, Task>()

  constructor(memory: Memory, create: CreateTask) {
    this.#create = create
    this.#reader = new ChainReader(memory)
  }

  /** Tasks that are kept. */
  get size(): number {
    return this.#tasks.size
  }

  made(id: TraceId): void {
    const hop = this.#reader.hop(id)
    if (hop !== undefined) this.#keep(id, this.#create(hopTitle(hop)))
  }

  run<T>(id: TraceId, call: () => T): T {
    const task = id === 0 ? undefined : (this.#tasks.get(id) ?? this.#again(id))
    return task === undefined ? call() : task.run(call)
  }

  /** The task of a hop of another thread, or of one that is no longer kept: each hop's is made in that of the one before. */
  #again(id: TraceId): Task | undefined {
    let task: Task | undefined
    for (const hop of this.#reader.chain(id, HOPS_MAX).hops.toReversed()) {
      const kept = this.#tasks.get(hop.id)
      if (kept !== undefined) task = kept
      else {
        const make = () => this.#create(hopTitle(hop))
        task = task === undefined ? make() : task.run(make)
        this.#keep(hop.id, task)
      }
    }
    return task
  }

  #keep(id: TraceId, task: Task): void {
    this.#tasks.set(id, task)
    if (this.#tasks.size <= TASKS_MAX) return
    for (const oldest of this.#tasks.keys()) {
      this.#tasks.delete(oldest)
      break
    }
  }
}

/** The tasks of a machine's CPUs on this thread: one of them sends, and another receives. Undefined where the engine has none. */
export function tasksOf(memory: Memory): InspectorTasks | undefined {
  const known = machines.get(memory)
  if (known !== undefined) return known
  const { createTask } = console as { createTask?: CreateTask }
  if (createTask === undefined) return undefined
  const tasks = new InspectorTasks(memory, createTask)
  machines.set(memory, tasks)
  return tasks
}

const machines = new WeakMap<Memory, InspectorTasks>()

/** Whether this thread listens for a debugger: `--inspect`, `inspector.open()`, SIGUSR1. A worker's never does so itself. */
export function isInspected(): boolean {
  if (!process.features.inspector) return false
  const { url } = createRequire(import.meta.url)('node:inspector') as typeof import('node:inspector')
  return url() !== undefined
}
