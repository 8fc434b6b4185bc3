// The loop of a fuzz run: takes an input that was interesting, changes it, runs it, and keeps it where it went a way that none has gone
// before. What fails is tried again by itself, and made small.
import type { Random } from '../../src/base/random.ts'
import type { Coverage } from './coverage.ts'
import { minimise } from './minimise.ts'
import { type Bytes, mutate } from './mutation.ts'
import type { Session, Target } from './target.ts'

export interface Finding {
  readonly error: string
  /** One after the other, in one session. */
  readonly inputs: readonly Bytes[]
  /** False: it failed once, and not again. */
  readonly isRepeatable: boolean
}

export interface Progress {
  readonly inputs: number
  readonly corpus: number
  readonly edges: number
  readonly classes: number
}

export interface Watcher {
  /** Before each input. */
  onInput(input: Bytes): void
  /** Behind each input; true ends the run. */
  onProgress(progress: Progress): boolean
}

const SESSION_INPUTS = 10_000
/** Inputs that are kept; beyond, a new one takes the place of another. */
const CORPUS_MAX = 20_000
/** The latest have led to new places just now. */
const LATEST = 32

export class Loop {
  readonly #target: Target
  readonly #random: Random
  readonly #coverage: Coverage
  readonly #watcher: Watcher
  readonly #corpus: Bytes[] = []
  #session: Session | undefined
  /** What was run in it. */
  #ran: Bytes[] = []
  #inputs = 0

  constructor(target: Target, random: Random, coverage: Coverage, watcher: Watcher) {
    this.#target = target
    this.#random = random
    this.#coverage = coverage
    this.#watcher = watcher
  }

  /** Runs until the watcher has had enough, or something fails. */
  async run(): Promise<Finding | undefined> {
    for (const seed of this.#target.seeds()) {
      const finding = await this.#try(seed, true)
      if (finding !== undefined) return finding
      if (this.#isOver()) return this.#close()
    }
    for (;;) {
      const finding = await this.#try(this.#make(), false)
      if (finding !== undefined) return finding
      if (this.#isOver()) return this.#close()
    }
  }

  #isOver(): boolean {
    const { edges, classes } = this.#coverage
    return this.#watcher.onProgress({ inputs: this.#inputs, corpus: this.#corpus.length, edges, classes })
  }

  #make(): Bytes {
    const random = this.#random
    const { length } = this.#corpus
    const latest = length > LATEST && random.chance(0.3)
    const input = this.#corpus[latest ? length - 1 - random.below(LATEST) : random.below(length)]!
    const other = this.#corpus[random.below(length)]!
    return (this.#target.mutate ?? mutate)(random, input, other)
  }

  async #try(input: Bytes, isSeed: boolean): Promise<Finding | undefined> {
    this.#inputs++
    this.#watcher.onInput(input)
    this.#coverage.begin()
    try {
      this.#session ??= await this.#target.open()
      this.#ran.push(input)
      await this.#session.run(input)
    } catch (error) {
      return this.#failed(error)
    }
    if (this.#coverage.take() > 0 || isSeed) this.#keep(input)
    return this.#ran.length >= (this.#target.inputs ?? SESSION_INPUTS) ? this.#close() : undefined
  }

  #keep(input: Bytes): void {
    if (this.#corpus.length < CORPUS_MAX) this.#corpus.push(input)
    else this.#corpus[this.#random.below(CORPUS_MAX)] = input
  }

  async #close(): Promise<Finding | undefined> {
    const session = this.#session
    this.#session = undefined
    try {
      await session?.close()
    } catch (error) {
      return this.#failed(error)
    }
    this.#ran = []
    return undefined
  }

  async #failed(error: unknown): Promise<Finding> {
    const expected = kindOf(error)
    const fails = async (inputs: readonly Bytes[]) => {
      for (const input of inputs) this.#watcher.onInput(input)
      const found = await runAll(this.#target, inputs)
      return found !== undefined && kindOf(found) === expected
    }
    const ran = this.#ran
    const last = ran.slice(-1)
    const failing = (await fails(last)) ? last : (await fails(ran)) ? ran : undefined
    const inputs = failing === undefined ? ran : await minimise(failing, fails)
    return { error: textOf(error), inputs, isRepeatable: failing !== undefined }
  }
}

/** Runs inputs in a session of their own; what was thrown, if anything was. */
export async function runAll(target: Target, inputs: readonly Bytes[]): Promise<unknown> {
  let session: Session | undefined
  try {
    session = await target.open()
    for (const input of inputs) await session.run(input)
    const opened = session
    session = undefined
    await opened.close()
    return undefined
  } catch (error) {
    // What is left of it is of no interest.
    await Promise.resolve()
      .then(() => session?.close())
      .catch(() => {})
    return error
  }
}

/** Errors of one kind differ in numbers only. */
function kindOf(error: unknown): string {
  const [first = ''] = textOf(error).split('\n')
  return first.replaceAll(/\d+/g, '0')
}

export function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : String(error)
}
