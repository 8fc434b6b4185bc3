// damselfly trace --packet: one packet's life through all hand-offs, with the time at each. The word behind it says which packet; the
// instance is asked for it, and the answer is shown as a tree.
import { chainVerb, durationText, frameLine } from '../../kernel/trace/chain.ts'
import type { Life, LifeHop } from '../../kernel/trace/life.ts'
import { traceIdText } from '../../kernel/trace/summary.ts'
import type { PacketOrder, PacketTrace } from '../../service/packet.ts'
import { askFor } from '../patience.ts'
import { count } from '../table.ts'
import { UsageError } from '../usage.ts'

/** Which packet is meant. */
export type PacketChoice = Pick<PacketOrder, 'id' | 'protocol' | 'port' | 'next'>

const NEWEST = 'newest'
const ID_MAX = 0x7fffffff

/** `--packet` alone means the newest one; node:util's parseArgs knows no option whose value may be left out. */
export function withPacketValue(args: readonly string[]): string[] {
  return args.map((word, i) => {
    const isAlone = word === '--packet' && (args[i + 1] === undefined || args[i + 1]!.startsWith('-'))
    return isAlone ? `--packet=${NEWEST}` : word
  })
}

/** `0x2a`, or words with commas between: `newest` or `next`, `tcp`, `udp`, `tcp:80`. @throws UsageError */
export function parsePacket(text: string): PacketChoice {
  if (/^0x[0-9a-f]{1,8}$/i.test(text) && Number(text) > 0 && Number(text) <= ID_MAX) return { id: Number(text) }
  let choice: PacketChoice = {}
  for (const word of text.split(',')) {
    const [, protocol, digits] = /^(tcp|udp)(?::(\d{1,5}))?$/.exec(word) ?? []
    const port = digits === undefined ? undefined : Number(digits)
    if (word === 'next') choice = { ...choice, next: true }
    else if (protocol !== undefined && (port === undefined || (port > 0 && port < 65536))) {
      choice = { ...choice, protocol: protocol as 'tcp' | 'udp', ...(port === undefined ? {} : { port }) }
    } else if (word !== NEWEST) {
      throw new UsageError(
        `--packet is "${text}": give newest, next, tcp or udp with or without a port like tcp:80, or the number of a trace like 0x2a`,
      )
    }
  }
  return choice
}

/** The answer of an instance as soon as there is such a packet, or when `waitMs` is over. */
export async function askPacket(
  choice: PacketChoice,
  waitMs: number,
  ask: (order: PacketOrder) => Promise<unknown>,
): Promise<PacketTrace> {
  return askFor<PacketTrace>(
    waitMs,
    async (patienceMs, earlier) => {
      const since = earlier === undefined ? {} : { sinceUs: earlier.sinceUs }
      return (await ask({ order: 'trace', view: 'packet', ...choice, patienceMs, ...since })) as PacketTrace
    },
    ({ life }) => life !== undefined,
  )
}

/** The answer as text. */
export function packetText({ life, mode, nowUs }: PacketTrace, withStacks: boolean): string {
  if (life !== undefined) return lifeText(life, nowUs, withStacks)
  if (mode === 'off') return 'tracing is off: turn it on by damselfly trace --mode all, or 1/N on a busy instance'
  return `no such packet has come and gone among what is kept, with tracing ${mode}: wait for one by --packet next --wait 60`
}

/** A line for each hop: since the first, since the hop that led to it, on which CPU, and what; the indentation tells branches. */
export function lifeText(life: Life, nowUs: number, withStacks: boolean): string {
  const { id, hops, begins, isCut } = life
  const first = hops[0]!
  const last = hops.reduce((latest, { sinceUs }) => Math.max(latest, sinceUs), 0)
  const lines = [
    `packet ${traceIdText(id)}, ${durationText(nowUs - first.atUs)} ago: ${count(hops.length)} hops in ${durationText(last)}`,
  ]
  const rows = hops.map((hop, i) => ({
    hop,
    since: hop.sinceUs.toFixed(1),
    after: i === 0 ? '–' : `+${hop.afterUs.toFixed(1)}`,
    cpu: String(hop.cpu),
  }))
  const wide = (title: string, cells: readonly string[]) => Math.max(title.length, ...cells.map(({ length }) => length))
  const sinceWidth = wide(
    'at µs',
    rows.map(({ since }) => since),
  )
  const afterWidth = wide(
    'after',
    rows.map(({ after }) => after),
  )
  lines.push(`${'at µs'.padStart(sinceWidth)}  ${'after'.padStart(afterWidth)}  cpu  hop`)
  if (begins === 'evicted') lines.push('(what came before is no longer kept)')
  if (begins === 'limit') lines.push('(and more before that)')
  for (const { hop, since, after, cpu } of rows) {
    const indent = '  '.repeat(hop.branch)
    const mark = hop.id === id && hop !== first ? ' ◄' : ''
    const line = `${since.padStart(sinceWidth)}  ${after.padStart(afterWidth)}  ${cpu.padStart(3)}  ${indent}${hopText(hop)}${mark}`
    lines.push(line)
    if (withStacks) {
      const margin = ' '.repeat(sinceWidth + afterWidth + 9)
      lines.push(...hop.frames.map((frame) => `${margin}${indent}${frameLine(frame).trimStart()}`))
    }
  }
  if (isCut) lines.push('(and more)')
  return lines.join('\n')
}

/** What happened at a hop, and what became of what was sent by it. */
function hopText(hop: LifeHop): string {
  const { kind, to, bytes, point, target, subject, taken } = hop
  if (point !== '') {
    const where = point === 'port' ? `port ${to}` : `${point} of cpu ${target} (${to})`
    return `${chainVerb(kind)} "${subject}" to ${where}${takenText(taken)}`
  }
  if (kind === 'wakeup') return chainVerb(kind)
  const end =
    kind === 'transmit' && typeof taken === 'number' ? `, received after ${durationText(taken)}` : takenText(taken)
  const size = bytes === 0 ? '' : `, ${count(bytes)} bytes`
  return `${chainVerb(kind)}${to === '' ? '' : `: ${to}`}${size}${end}`
}

function takenText(taken: LifeHop['taken']): string {
  if (taken === undefined) return ''
  return taken === 'called' ? ', a call' : `, waited ${durationText(taken)}`
}
