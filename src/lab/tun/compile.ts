// Small C programs that tests, benchmarks and the laboratory need as peers: compiled when they are wanted, into a folder of the caller's.
// Nothing of the stack itself is C.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const COMPILE_MS = 60_000

/** Why there are no C programs here, or undefined where they can be compiled: what a test gives to `skip`. */
export function compilerUnavailable(): string | undefined {
  return compiler() === undefined
    ? 'there is no C compiler: install gcc and libc6-dev'
    : existsSync('/usr/include/stdio.h')
      ? undefined
      : 'the C library has no headers here: install libc6-dev'
}

/**
 * Compiles one file into `folder`; the path of the program.
 * @param source from the repository's root: `src/lab/tun/c/client.c`
 * @throws Error with what the compiler printed
 */
export function compile(source: string, folder: string): string {
  const program = join(folder, basename(source, '.c'))
  const args = ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, join(repository(), source)]
  execFileSync(compiler()!, args, { stdio: 'pipe', timeout: COMPILE_MS, encoding: 'utf8' })
  return program
}

/** The folder with package.json: this file runs compiled, in a folder below it. */
export function repository(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}

function compiler(): string | undefined {
  const folders = (process.env.PATH ?? '').split(':')
  return ['cc', 'gcc', 'clang'].find((name) => folders.some((folder) => existsSync(join(folder, name))))
}
