// Network namespaces for tests, benchmarks and the laboratory: a network of their own, so that nothing they do touches the host's.
// A program runs inside by `ip netns exec`; a TUN device opened there stays there. Every namespace is removed, also when
// the test fails, throws or is told to stop.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

/** How long one command may take. */
const COMMAND_MS = 20_000

/**
 * Why namespaces with TUN devices cannot be had here, or undefined where they can: what a test gives to `skip`.
 * @param tools programs that the test needs besides ip(8)
 */
export function available(...tools: readonly string[]): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are for Linux only'
  if (!existsSync('/dev/net/tun')) return '/dev/net/tun does not exist'
  const missing = ['ip', ...tools].find((tool) => !installed(tool))
  if (missing !== undefined) return `the program ${missing} is not installed`
  try {
    new Namespace('probe').remove()
  } catch {
    return 'making a network namespace needs root'
  }
  return undefined
}

function installed(program: string): boolean {
  const folders = (process.env.PATH ?? '').split(':')
  return folders.some((folder) => existsSync(`${folder}/${program}`))
}

/** Runs `body` with a new namespace, and removes it whatever happens. */
export async function inNamespace<Result>(
  label: string,
  body: (namespace: Namespace) => Promise<Result> | Result,
): Promise<Result> {
  const namespace = new Namespace(label)
  try {
    return await body(namespace)
  } finally {
    namespace.remove()
  }
}

export class Namespace {
  readonly name: string
  readonly #children = new Set<ChildProcess>()
  #removed = false

  /** @param label tells this process's namespaces apart; the process id tells processes apart */
  constructor(label: string) {
    this.name = `damselfly-${process.pid}-${label}`
    execFileSync('ip', ['netns', 'add', this.name], { stdio: 'pipe', timeout: COMMAND_MS })
    process.once('exit', this.#onExit)
    process.once('SIGINT', this.#onSignal)
    process.once('SIGTERM', this.#onSignal)
    this.run('ip', ['link', 'set', 'lo', 'up'])
  }

  /** Runs a command inside to its end; what it printed. Throws where it fails or takes longer than `timeoutMs`. */
  run(command: string, commandArguments: readonly string[], timeoutMs: number = COMMAND_MS): string {
    return execFileSync('ip', this.inside(command, commandArguments), {
      encoding: 'utf8',
      stdio: 'pipe',
      timeout: timeoutMs,
      env: childEnvironment(),
    })
  }

  /** Starts a command inside; it is killed at the latest when the namespace is removed. Its id is its own. */
  spawn(command: string, commandArguments: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn('ip', this.inside(command, commandArguments), { env: childEnvironment(), ...options })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  /** What `ip` is called with. */
  inside(command: string, commandArguments: readonly string[]): string[] {
    return ['netns', 'exec', this.name, command, ...commandArguments]
  }

  remove(): void {
    if (this.#removed) return
    this.#removed = true
    process.off('exit', this.#onExit)
    process.off('SIGINT', this.#onSignal)
    process.off('SIGTERM', this.#onSignal)
    for (const child of this.#children) child.kill('SIGKILL')
    execFileSync('ip', ['netns', 'del', this.name], { stdio: 'pipe', timeout: COMMAND_MS })
  }

  readonly #onExit = () => this.remove()
  readonly #onSignal = (signal: NodeJS.Signals) => {
    this.remove()
    process.kill(process.pid, signal)
  }
}

/** A child that is no test of its own must not report to the test runner. */
function childEnvironment(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env
  return environment
}

/** Everything that a child prints, until it ends. Rejects where it fails, or takes longer than `timeoutMs`: then it is killed. */
export function output(child: ChildProcess, timeoutMs: number = COMMAND_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    let printed = ''
    let complained = ''
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    child.stdout?.on('data', (chunk) => {
      printed += chunk
    })
    child.stderr?.on('data', (chunk) => {
      complained += chunk
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) resolve(printed)
      else reject(new Error(`${child.spawnargs.join(' ')}: ended by ${signal ?? code}\n${printed}${complained}`))
    })
  })
}
