// damselfly run: starts a program of Node's with the preload that puts its net and dgram on a host of ours. The program is a plain
// child of this process: its arguments, output, exit code and signals are as they would be without.
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { KernelError } from '../base/errno.ts'
import { programEnvironment, programOptions, VARIABLES } from '../node/options.ts'
import { USAGE, UsageError } from './usage.ts'

/**
 * Below this, in MB, V8 does without its first collection of all memory. The stack's own modules let a small program's heap look
 * like one that is nearly full, and from the first of these collections on, one would follow each 16 MB of received Buffers.
 */
const HEAP = '--initial-old-space-size=128'
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export async function run(args: readonly string[]): Promise<void> {
  const { own, program } = split(args)
  if (own.includes('--help') || own.includes('-h')) return console.log(USAGE)
  const environment = parse(own)
  if (program.length === 0) throw new UsageError('run needs a program: damselfly run server.js')
  const preload = new URL('./run-preload.js', import.meta.url).href
  const child = spawn(process.execPath, [HEAP, ...process.execArgv, '--import', preload, ...program], {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  })
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      // A terminal's Ctrl-C goes to both; what was sent to this process alone is passed on.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  const { code, signal } = await ended(child)
  if (signal === null) process.exitCode = code ?? 1
  else {
    for (const each of SIGNALS) process.removeAllListeners(each)
    process.kill(process.pid, signal)
  }
}

function ended(child: ReturnType<typeof spawn>): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve({ code, signal }))
  })
}

const TEXT = { type: 'string' } as const
const FLAG = { type: 'boolean', default: false } as const
const OPTIONS = {
  tun: TEXT,
  address: TEXT,
  'kernel-address': TEXT,
  gateway: TEXT,
  cpus: TEXT,
  device: TEXT,
  pcap: TEXT,
  trace: TEXT,
  instances: FLAG,
  discipline: TEXT,
  groups: TEXT,
  dispatch: TEXT,
  layers: TEXT,
} as const

/** Ours are those before the program; what follows its name is its own. */
function split(args: readonly string[]): { own: readonly string[]; program: readonly string[] } {
  let at = 0
  // A single dash is a program as well: what comes from standard input.
  while (at < args.length && args[at]!.startsWith('-') && args[at] !== '-') {
    const word = args[at]!
    if (word === '--') return { own: args.slice(0, at), program: args.slice(at + 1) }
    const takesValue = Object.entries(OPTIONS).some(([name, { type }]) => type === 'string' && word === `--${name}`)
    at += takesValue ? 2 : 1
  }
  return { own: args.slice(0, at), program: args.slice(at) }
}

/** The environment of the child; checked here, where wrong words are the user's. */
function parse(own: readonly string[]): { [name: string]: string } {
  const { values } = parseArgs({ args: [...own], options: OPTIONS })
  const environment: { [name: string]: string | undefined } = { ...process.env }
  for (const [name, value] of Object.entries(values)) {
    const variable = VARIABLES[name as keyof typeof VARIABLES]
    if (typeof value === 'string') environment[variable] = value
    else if (value === true) environment[variable] = '1'
  }
  try {
    return programEnvironment(programOptions(environment))
  } catch (error) {
    throw error instanceof KernelError ? new UsageError(error.message) : error
  }
}
