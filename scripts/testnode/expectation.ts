// What Node itself expects of its tests on this computer: test/parallel/parallel.status. For ../test-node.ts.
//
//     [$system==linux]
//     test-net-one: SKIP
//     test-net-two: PASS, FLAKY

export type Expectation = 'skip' | 'flaky'

/** By the names of the files without their ending. Of the conditions only system and architecture can be true here. */
export function parseExpectations(text: string, system: string, architecture: string): Map<string, Expectation> {
  const expectations = new Map<string, Expectation>()
  let holds = true
  for (const line of text.split('\n')) {
    const bare = line.replace(/#.*/, '').trim()
    const [, condition] = /^\[(.*)\]$/.exec(bare) ?? []
    if (condition !== undefined) {
      holds = isTrue(condition, system, architecture)
      continue
    }
    const [, name, outcomes = ''] = /^([\w.-]+)\s*:(.*)$/.exec(bare) ?? []
    if (name === undefined || !holds) continue
    if (/\bSKIP\b/.test(outcomes)) expectations.set(name, 'skip')
    else if (/\bFLAKY\b/.test(outcomes) && expectations.get(name) !== 'skip') expectations.set(name, 'flaky')
  }
  return expectations
}

function isTrue(condition: string, system: string, architecture: string): boolean {
  return condition.split('||').some((all) =>
    all.split('&&').every((term) => {
      const bare = term.replace(/\s/g, '')
      return bare === 'true' || bare === `$system==${system}` || bare === `$arch==${architecture}`
    }),
  )
}
