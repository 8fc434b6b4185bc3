// Chains in OpenTelemetry, with its own SDK: spans, their links and times, and traces that cross processes and programs.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { type Context, type ContextManager, context, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  RandomIdGenerator,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import type { Cpu } from '../kernel/cpu.ts'
import { EASYNC, Plain } from '../kernel/message.ts'
import { type Chain, chainText } from '../kernel/trace/chain.ts'
import { decodeChain, encodeChain } from '../kernel/trace/wire.ts'
import { boot } from '../machine/boot.ts'
import { type SimMachine, type SimOptions, simulate } from '../machine/sim.ts'
import {
  chainFromTraceparent,
  contextOf,
  contextsOf,
  exportChain,
  followSpans,
  HopIds,
  parseTraceparent,
  traceparentOf,
  withTraceparent,
} from './main.ts'

const HEADER = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const { traceId: TRACE, spanId: SPAN } = parseTraceparent(HEADER)!
const NOW_US = 5000
const WALL_US = 1_700_000_000_000_000

/** As the context managers for Node do it, for synchronous code. */
class StackOfContexts implements ContextManager {
  readonly #stack: Context[] = [ROOT_CONTEXT]
  active() {
    return this.#stack.at(-1)!
  }
  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    active: Context,
    call: F,
    self?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    this.#stack.push(active)
    try {
      return call.apply(self as never, args)
    } finally {
      this.#stack.pop()
    }
  }
  bind<T>(_active: Context, target: T): T {
    return target
  }
  enable() {
    return this
  }
  disable() {
    return this
  }
}

before(() => void context.setGlobalContextManager(new StackOfContexts()))
after(() => context.disable())

function provided(ids?: HopIds) {
  const exporter = new InMemorySpanExporter()
  const spanProcessors = [new SimpleSpanProcessor(exporter)]
  const provider = new BasicTracerProvider(
    ids === undefined ? { spanProcessors } : { spanProcessors, idGenerator: ids },
  )
  return { exporter, tracer: provider.getTracer('test') }
}

/** Three hops over three CPUs; `begin` sends, and `told` is called in the last handler. */
function relay(
  told: (cpu: Cpu) => void,
  begin: (cpu: Cpu, send: () => void) => void = (_cpu, send) => send(),
  options: Pick<SimOptions, 'trace'> = {},
): SimMachine {
  const machine = simulate({
    cpus: 3,
    seed: 1,
    memoryBytes: 8 * 1024 * 1024,
    trace: 'all',
    ...options,
    program: ((cpu: Cpu) => relaying(cpu, told, begin)) as never,
  })
  machine.run({ untilUs: 100_000 })
  return machine
}

function relaying(cpu: Cpu, told: (cpu: Cpu) => void, begin: (cpu: Cpu, send: () => void) => void): void {
  if (cpu.index === 2) {
    cpu.ports.create({
      name: 'last',
      handler: () => {
        told(cpu)
        return 0
      },
    })
  }
  if (cpu.index === 1) {
    cpu.ports.create({
      name: 'first',
      handler: (m) => {
        cpu.ports.forward(cpu.ports.lookup('last'), m)
        return EASYNC
      },
    })
  }
  if (cpu.index === 0) {
    cpu.threads.start('asker', function* asking(thread) {
      yield* thread.until(() => cpu.ports.find('first') !== undefined && cpu.ports.find('last') !== undefined)
      begin(cpu, function asks() {
        cpu.ports.send(cpu.ports.lookup('first'), cpu.ports.allocate(Plain))
      })
    })
  }
}

async function relayed(
  begin?: (cpu: Cpu, send: () => void) => void,
  options?: Pick<SimOptions, 'trace'>,
): Promise<Chain> {
  let chain: Chain | undefined
  const machine = relay(
    (cpu) => {
      chain = cpu.tracer.where()
    },
    begin,
    options,
  )
  await machine.stop()
  assert.ok(chain !== undefined)
  return chain
}

const parentOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId
const us = ([seconds, nanoseconds]: readonly [number, number]) => seconds * 1e6 + nanoseconds / 1000

function assertLinked(spans: readonly ReadableSpan[]): void {
  assert.deepEqual(
    spans.map(({ name }) => name),
    ['thread asker', 'send first', 'forward last'],
  )
  for (let i = 1; i < spans.length; i++) assert.equal(parentOf(spans[i]), spans[i - 1]!.spanContext().spanId)
  assert.equal(new Set(spans.map((span) => span.spanContext().traceId)).size, 1)
}

test('each hop is a span, linked to the hop before, with where it was done and when', async () => {
  const chain = await relayed()
  const { exporter, tracer } = provided()
  exportChain(chain, { tracer, nowUs: NOW_US, wallUs: WALL_US })
  const spans = exporter.getFinishedSpans()
  assertLinked(spans)
  const [, sent, forwarded] = spans
  const [latest, before] = chain.hops
  assert.equal(sent!.kind, SpanKind.PRODUCER)
  const { 'code.filepath': path, 'code.lineno': line, ...rest } = sent!.attributes
  assert.deepEqual(rest, {
    'damselfly.kind': 'send',
    'damselfly.cpu': 0,
    'damselfly.port': 'first',
    'damselfly.hop': before!.id,
    'code.function': 'asks',
  })
  assert.match(String(path), /src\/otel\/otel\.test\.ts$/)
  assert.ok(Number(line) > 0)
  assert.ok(Math.abs(us(sent!.startTime) - (WALL_US + before!.atUs - NOW_US)) < 1)
  assert.ok(Math.abs(us(sent!.endTime) - us(forwarded!.startTime)) < 1)
  assert.ok(Math.abs(us(forwarded!.startTime) - (WALL_US + latest!.atUs - NOW_US)) < 1)
  assert.ok(Math.abs(us(forwarded!.endTime) - WALL_US) < 1)
})

test("a provider with a chain's numbers exports the spans that the header tells of, the origin without a parent, each once", async () => {
  const chain = await relayed()
  const ids = new HopIds(new RandomIdGenerator())
  const { exporter, tracer } = provided(ids)
  const options = { tracer, nowUs: NOW_US, wallUs: WALL_US, ids }
  exportChain({ ...chain, hops: chain.hops.slice(1) }, options)
  exportChain(chain, options)
  const spans = exporter.getFinishedSpans()
  assertLinked(spans)
  assert.equal(parentOf(spans[0]), undefined)
  assert.deepEqual(
    spans.map((span) => span.spanContext().spanId),
    contextsOf(chain)
      .map(({ spanId }) => spanId)
      .reverse(),
  )
  const told = parseTraceparent(traceparentOf(chain)!)
  assert.deepEqual([told?.traceId, told?.spanId], [spans[2]!.spanContext().traceId, spans[2]!.spanContext().spanId])
  // What is no hop has a number by chance.
  assert.ok(!contextsOf(chain).some(({ spanId }) => spanId === tracer.startSpan('other').spanContext().spanId))
})

test('a chain has the same numbers wherever they are computed, and two chains have none in common', async () => {
  const chain = await relayed()
  assert.equal(traceparentOf(chain), traceparentOf(structuredClone(chain)))
  const elsewhere = { ...chain, hops: chain.hops.map((hop) => ({ ...hop, process: { pid: process.pid, title: 'x' } })) }
  assert.equal(traceparentOf(elsewhere), traceparentOf(chain))
  const other = { ...chain, hops: chain.hops.map((hop) => ({ ...hop, atUs: hop.atUs + 0.25 })) }
  for (const [i, { traceId, spanId }] of contextsOf(other).entries()) {
    assert.notEqual(traceId, contextsOf(chain)[i]!.traceId)
    assert.notEqual(spanId, contextsOf(chain)[i]!.spanId)
  }
  assert.notEqual(traceparentOf(chain, { machine: 'second' }), traceparentOf(chain))
  assert.equal(traceparentOf({ hops: [], end: 'origin' }), undefined)
})

test('hops of another process are left to it, and linked to by the numbers that it gives them', async () => {
  const chain = await relayed()
  const [latest, ...others] = chain.hops
  const mixed: Chain = {
    ...chain,
    hops: [latest!, ...others.map((hop) => ({ ...hop, process: { pid: 1, title: 'peer' } }))],
  }
  const ids = new HopIds(new RandomIdGenerator())
  const { exporter, tracer } = provided(ids)
  exportChain(mixed, { tracer, nowUs: NOW_US, wallUs: WALL_US, ids })
  const [span, ...rest] = exporter.getFinishedSpans()
  assert.equal(rest.length, 0)
  assert.equal(parentOf(span), contextsOf(mixed)[1]!.spanId)
  assert.equal(us(span!.endTime), WALL_US)
})

test('what a request of another process leads to belongs to its trace, through queues and over the wire to a third', async () => {
  const chain = await relayed((cpu, send) => withTraceparent(cpu, HEADER, send))
  assert.deepEqual(
    chain.hops.map(({ kind, to }) => `${kind} ${to}`),
    ['forward last', 'send first', `remote ${HEADER}`, 'thread asker'],
  )
  assert.match(chainText(chain, NOW_US), new RegExp(`\ncontinued by cpu 0 from trace ${HEADER}, `))
  assert.equal(parseTraceparent(traceparentOf(chain)!)?.traceId, TRACE)
  assert.deepEqual(decodeChain(encodeChain(chain))?.hops[2]?.to, HEADER)
  const { exporter, tracer } = provided(new HopIds(new RandomIdGenerator()))
  exportChain(chain, { tracer, nowUs: NOW_US })
  const sent = exporter.getFinishedSpans().find(({ name }) => name === 'send first')
  assert.deepEqual([sent?.spanContext().traceId, parentOf(sent)], [TRACE, SPAN])
})

test('a header that is none, and a machine that traces nothing, leave everything as it is', async () => {
  const chain = await relayed((cpu, send) => withTraceparent(cpu, 'nonsense', send))
  assert.deepEqual(
    chain.hops.map(({ kind }) => kind),
    ['forward', 'send', 'thread'],
  )
  const none = await relayed((cpu, send) => withTraceparent(cpu, HEADER, send), { trace: 'off' })
  assert.deepEqual(none.hops, [])
  assert.equal(chainFromTraceparent('nonsense'), undefined)
  assert.equal(traceparentOf(chainFromTraceparent(HEADER)!), HEADER)
})

test('an error behind a header tells of it', async () => {
  let stack = ''
  await relayed((cpu, send) => {
    send()
    try {
      withTraceparent(cpu, HEADER, () => {
        throw new Error('refused')
      })
    } catch (error) {
      stack = (error as Error).stack ?? ''
    }
  })
  assert.match(stack, new RegExp(`^Error: refused\n[\\s\\S]*\ncontinued by cpu 0 from trace ${HEADER}`))
})

test('with 1/N what a sampled trace of another process leads to is taken all the same', async () => {
  const chain = await relayed((cpu, send) => withTraceparent(cpu, HEADER, send), { trace: 1_000_000 })
  assert.deepEqual(chain.hops.map(({ kind }) => kind).slice(0, 3), ['forward', 'send', 'remote'])
  const unsampled = await relayed((cpu, send) => withTraceparent(cpu, HEADER.replace(/01$/, '00'), send), {
    trace: 1_000_000,
  })
  assert.ok(!unsampled.hops.some(({ kind }) => kind === 'remote'))
})

test('a message that is sent while a span is active has it as its parent, until nobody follows spans any more', async () => {
  const { exporter, tracer } = provided()
  const span = tracer.startSpan('of the program')
  const { traceId, spanId } = span.spanContext()
  const begin = (cpu: Cpu, send: () => void) => {
    const end = followSpans(cpu)
    context.with(trace.setSpan(context.active(), span), () => {
      send()
      // The same span is noted once.
      cpu.timers.after(1, () => {})
    })
    end()
    context.with(trace.setSpan(context.active(), span), () => assert.equal(cpu.tracer.outside, undefined))
  }
  const chain = await relayed(begin)
  assert.deepEqual(
    chain.hops.map(({ kind, to }) => `${kind} ${to}`),
    ['forward last', 'send first', `remote 00-${traceId}-${spanId}-01`, 'thread asker'],
  )
  span.end()
  exportChain(chain, { tracer, nowUs: NOW_US })
  const sent = exporter.getFinishedSpans().find(({ name }) => name === 'send first')
  assert.equal(parentOf(sent), spanId)
})

test('a span that a handler begins in the context of its chain is a child of the hop, and what it sends goes on from there', async () => {
  const { tracer } = provided()
  let parent: string | undefined
  let told: string | undefined
  let chain: Chain | undefined
  let direct: Chain | undefined
  const machine = relay((cpu) => {
    const where = cpu.tracer.where()
    told = contextsOf(where)[0]!.spanId
    const end = followSpans(cpu)
    context.with(contextOf(where), () => {
      // In no span of its own the cause is the hop itself.
      direct = cpu.tracer.chainOf(cpu.tracer.note(0, 0, 0, undefined))
      const span = tracer.startSpan('handles')
      parent = (span as unknown as ReadableSpan).parentSpanContext?.spanId
      context.with(trace.setSpan(context.active(), span), () => {
        chain = cpu.tracer.chainOf(cpu.tracer.note(0, 0, 0, undefined))
      })
    })
    end()
  })
  await machine.stop()
  assert.equal(parent, told)
  const kinds = (each: Chain | undefined) => each?.hops.map(({ kind }) => kind)
  assert.deepEqual(kinds(direct), ['send', 'forward', 'send', 'thread'])
  assert.deepEqual(kinds(chain), ['send', 'remote', 'forward', 'send', 'thread'])
  assert.equal(contextOf({ hops: [], end: 'origin' }), context.active())
})

for (const host of ['threads', 'inline'] as const) {
  test(`on ${host}, a chain goes on from a header and is exported`, async () => {
    const machine = await boot({
      host,
      cpus: 2,
      memoryBytes: 8 * 1024 * 1024,
      trace: 'all',
      signals: false,
      program: new URL('./testing/remote-program.js', import.meta.url),
    })
    try {
      let told: { readonly chain: Chain; readonly nowUs: number } | undefined
      while (told === undefined) {
        told = (await machine.ask(1, 'chain')) as typeof told
        await new Promise((resolve) => setImmediate(resolve))
      }
      const ids = new HopIds(new RandomIdGenerator())
      const { exporter, tracer } = provided(ids)
      exportChain(told.chain, { nowUs: told.nowUs, tracer, ids })
      const [span] = exporter.getFinishedSpans().filter(({ name }) => name === 'send asked')
      assert.deepEqual([span?.spanContext().traceId, parentOf(span)], [TRACE, SPAN])
      assert.equal(span?.spanContext().spanId, parseTraceparent(traceparentOf(told.chain)!)?.spanId)
      assert.ok(Math.abs(us(span!.startTime) / 1e6 - Date.now() / 1000) < 60)
    } finally {
      await machine.stop()
    }
  })
}

test('without @opentelemetry/api what needs it says which package to install, and the rest works', () => {
  const main = new URL('./main.js', import.meta.url).href
  const hooks = `export function resolve(name, context, next) {
    if (name !== '@opentelemetry/api') return next(name, context)
    throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
  }`
  const program = `
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}))
    const { exportChain, traceparentOf, chainFromTraceparent } = await import(${JSON.stringify(main)})
    const chain = chainFromTraceparent(${JSON.stringify(HEADER)})
    console.log(traceparentOf(chain))
    exportChain(chain, { nowUs: 0 })`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  assert.equal(stdout, `${HEADER}\n`)
  assert.equal(status, 1)
  assert.match(stderr, /to export a chain needs the package @opentelemetry\/api: npm install @opentelemetry\/api/)
})
