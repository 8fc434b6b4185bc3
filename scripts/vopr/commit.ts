// Which state of the code it is that fails.
import { spawnSync } from 'node:child_process'

/** The commit, and whether there is more than what it has; `unknown` outside of a repository. */
export function commit(): string {
  const head = git('rev-parse', '--short=12', 'HEAD')
  if (head === undefined) return 'unknown'
  return git('status', '--porcelain', '--untracked-files=no') === '' ? head : `${head} with changes`
}

function git(...words: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', words, { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}
