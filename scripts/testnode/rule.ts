// Which of Node's tests cannot say anything about another network stack, by looks at their sources. For ../test-node.ts.
// The rules are simple on purpose: each has a name and a reason, both are printed, and `--all` runs the files all the same.
import { withoutComments } from '../lexer.ts'
import type { TestFile } from './tree.ts'

export interface Rule {
  readonly name: string
  readonly reason: string
  /** Only where the network lies within the process. */
  readonly inProcessOnly?: boolean
  /** @param source without its comments */
  readonly applies: (source: string) => boolean
}

/** An address of the internet's family, or a port. */
const INTERNET = /127\.0\.0\.\d|localhost:|udp4|\.listen\(\s*(?:\d|\)|common\.mustCall|\(\))|\bport\b/i
const UNIX = /\bPIPE\b|\.sock['"`]|\bsocketPath\b/

export const RULES: readonly Rule[] = [
  {
    name: 'cluster',
    reason: 'processes of a cluster pass sockets of the kernel to each other',
    applies: (source) => /(?:require\(|from\s+)['"](?:node:)?cluster['"]/.test(source),
  },
  {
    name: 'handle',
    reason: 'passes a socket of the kernel to a child process',
    applies: (source) =>
      /child_process/.test(source) &&
      /\.send\(\s*(?:\{[^{}]*\}|'[^']*'|[\w.]+)\s*,\s*\w*(?:server|socket|handle|conn|client)\w*\b/i.test(source),
  },
  {
    name: 'descriptor',
    reason: 'wraps a descriptor of a socket or pipe of the kernel',
    applies: (source) => /\bfd\s*[:=]\s*\w*handle\.fd\b|\b_createSocketHandle\b|\bpipe_wrap\b/i.test(source),
  },
  {
    name: 'pipe',
    reason: 'uses UNIX domain sockets only',
    applies: (source) => UNIX.test(source) && !INTERNET.test(source),
  },
  {
    name: 'ipv6',
    reason: 'skips itself on a computer without IPv6, which the stack does not have',
    applies: (source) => /!\s*(?:common\.)?hasIPv6\)\s*\{?\s*(?:common\.)?skip\(/.test(source),
  },
  {
    name: 'internet',
    reason: 'needs hosts outside this computer',
    applies: (source) => /common\/internet['"]/.test(source) && !/errorLookupMock/.test(source),
  },
  {
    name: 'processes',
    reason: 'talks to a child process over the network, which here lies within one process',
    inProcessOnly: true,
    applies: (source) =>
      /child_process/.test(source) &&
      /\b(?:spawn|fork|exec|execFile)\(/.test(source) &&
      /\bport\b|_PORT\b/.test(source),
  },
]

/** The first rule that leaves a file out. */
export function ruleFor(file: TestFile, inProcess: boolean): Rule | undefined {
  const source = withoutComments(file.source)
  return RULES.find((rule) => (inProcess || rule.inProcessOnly !== true) && rule.applies(source))
}
