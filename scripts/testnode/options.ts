// The options of `npm run test:node`. For ../test-node.ts.
import { parseArgs } from 'node:util'

/** What the names of the files to run start with: `test-net-…`, `test-http-…`. */
export const MODULES = ['net', 'http', 'https', 'http2', 'dgram'] as const
export type Module = (typeof MODULES)[number]

export interface Options {
  /** Where Node's tests are: a checkout, its `test`, or its `test/parallel`. */
  readonly folder: string
  readonly modules: readonly Module[]
  /** The module that puts the stack under Node; undefined for plain Node. */
  readonly preload: string | undefined
  /** What the tests get in their environment besides what Node's own runner gives them. */
  readonly environment: Readonly<Record<string, string>>
  /** Whether the network is within the process: then a test cannot reach its own child over it. */
  readonly inProcess: boolean
  readonly timeoutMs: number
  readonly jobs: number
  readonly only: RegExp | undefined
  /** Runs the files on plain Node too. */
  readonly baseline: boolean
  /** Runs also what the rules would leave out. */
  readonly all: boolean
  readonly list: boolean
  readonly verbose: boolean
  readonly json: string | undefined
}

/** What the preload reads in the environment: the device of the program's host. With none it reaches only itself. */
const DEVICE = 'DAMSELFLY_DEVICE'
const TIMEOUT_S_MAX = 3600
const JOBS_MAX = 64

export const USAGE = `usage: npm run test:node -- DIR [options]

Runs Node's own tests of ${MODULES.join(', ')} on Damselfly. DIR is a checkout of Node's sources that fits
the node that runs this (or its folder test, or test/parallel).

  --preload FILE     what puts the stack under Node; "none" for plain Node  (damselfly/register)
  --device KIND      of the host that a test runs on: none, tun, tap; none is 127.0.0.0/8 within the process  (none)
  --env NAME=VALUE   a further variable for the tests, such as DAMSELFLY_ADDRESS; may be repeated
  --modules A,B      only these of ${MODULES.join(', ')}
  --only REGEX       only files whose name matches
  --timeout SECONDS  for each file  (60)
  --jobs N           files at the same time  (2)
  --baseline         run each file on plain Node too, and tell what fails there as well
  --all              run also the files that a rule leaves out
  --json FILE        write the results there
  --list             only list the files, with what would be left out and why
  --verbose          a line for each file, also for those that pass
`

/** Something is wrong with the options; the message says what to give. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/**
 * The options of a command line.
 *
 * @param preload the default for `--preload`
 * @throws UsageError
 */
export function parseOptions(argv: readonly string[], preload: string): Options | 'help' {
  const { values, positionals } = parsed(argv)
  if (values.help) return 'help'
  const [folder, ...more] = positionals
  if (folder === undefined) throw new UsageError("give the folder with Node's tests: npm run test:node -- DIR")
  if (more.length > 0) throw new UsageError(`one folder at a time, not also "${more.join(' ')}"`)
  const plain = values.preload === 'none'
  const device = values.device ?? 'none'
  return {
    folder,
    modules: modules(values.modules),
    preload: plain ? undefined : (values.preload ?? preload),
    environment: {
      ...(plain ? {} : { [DEVICE]: device }),
      ...Object.fromEntries((values.env ?? []).map(variable)),
    },
    inProcess: !plain && device === 'none',
    timeoutMs: whole('timeout', values.timeout ?? '60', TIMEOUT_S_MAX) * 1000,
    jobs: whole('jobs', values.jobs ?? '2', JOBS_MAX),
    only: values.only === undefined ? undefined : expression(values.only),
    baseline: values.baseline ?? false,
    all: values.all ?? false,
    list: values.list ?? false,
    verbose: values.verbose ?? false,
    json: values.json,
  }
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        preload: { type: 'string' },
        device: { type: 'string' },
        env: { type: 'string', multiple: true },
        modules: { type: 'string' },
        only: { type: 'string' },
        timeout: { type: 'string' },
        jobs: { type: 'string' },
        json: { type: 'string' },
        baseline: { type: 'boolean' },
        all: { type: 'boolean' },
        list: { type: 'boolean' },
        verbose: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function modules(text: string | undefined): readonly Module[] {
  if (text === undefined) return MODULES
  return text.split(',').map((name) => {
    const module = MODULES.find((one) => one === name)
    if (module === undefined) throw new UsageError(`--modules has "${name}": give some of ${MODULES.join(',')}`)
    return module
  })
}

function variable(text: string): readonly [string, string] {
  const [, name, value] = /^(\w+)=(.*)$/s.exec(text) ?? []
  if (name === undefined || value === undefined) throw new UsageError(`--env is "${text}": give NAME=VALUE`)
  return [name, value]
}

function whole(option: string, text: string, high: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > high) {
    throw new UsageError(`--${option} is "${text}": give a whole number from 1 to ${high}`)
  }
  return value
}

function expression(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new UsageError(`--only: ${(error as Error).message}`)
  }
}
