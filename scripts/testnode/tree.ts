// Node's own tests, as they lie in a checkout of its sources. For ../test-node.ts.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { type Module, UsageError } from './options.ts'

export interface TestFile {
  readonly module: Module
  /** `test-net-connect.js` */
  readonly name: string
  readonly path: string
  readonly source: string
}

export interface Tree {
  /** The folder above `test`, where Node's own runner runs its tests. */
  readonly root: string
  readonly parallel: string
}

/**
 * Finds the tests below a folder, or around it.
 *
 * @throws UsageError when they are not there, or without what they share (`test/common`)
 */
export function findTree(folder: string): Tree {
  const path = resolve(folder)
  const parallel = [join(path, 'test', 'parallel'), join(path, 'parallel'), path].find(
    (candidate) => basename(candidate) === 'parallel' && existsSync(candidate),
  )
  if (parallel === undefined) {
    throw new UsageError(`${path} has no test/parallel: give a checkout of Node's sources, or its folder test`)
  }
  const test = dirname(parallel)
  if (!existsSync(join(test, 'common', 'index.js'))) {
    throw new UsageError(`${test} has no common/index.js, which Node's tests need: give the whole folder`)
  }
  return { root: dirname(test), parallel }
}

/** The files of some modules, in the order of their names. */
export function listFiles(tree: Tree, modules: readonly Module[], only: RegExp | undefined): TestFile[] {
  const names = readdirSync(tree.parallel).sort()
  return modules.flatMap((module) =>
    names
      .filter((name) => isOf(module, name) && (only === undefined || only.test(name)))
      .map((name) => {
        const path = join(tree.parallel, name)
        return { module, name, path, source: readFileSync(path, 'utf8') }
      }),
  )
}

/** Whether a file is one of a module's tests. */
export function isOf(module: Module, name: string): boolean {
  return new RegExp(`^test-${module}-.*\\.m?js$`).test(name)
}

/** What a test asks to be given to node: the first comment `// Flags: --expose-gc`. */
export function flagsOf(source: string): string[] {
  const [, flags = ''] = /\/\/[ \t]+Flags:(.*)/.exec(source) ?? []
  return flags.split(/\s+/).filter((flag) => flag !== '')
}
