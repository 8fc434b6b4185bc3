// What was published of the same disciplines: P. Willmann, S. Rixner, A. L. Cox, "An Evaluation of Network Stack Parallelization
// Strategies in Modern Operating Systems", USENIX Annual Technical Conference 2006, section 4.1, table 1: the percentage of lock
// acquisitions for global TCP/IP locks that did not succeed immediately; FreeBSD 7 on four cores, data in bulk. The numbers
// stand at usenix.org/legacy/event/usenix06/tech/full_papers/willmann/willmann_html/node10.html.

export const WILLMANN = 'Willmann, Rixner and Cox (USENIX ATC 2006, table 1)'

/** The numbers of connections of the table's columns. */
export const TABLE_CONNECTIONS = [6, 192, 16384] as const
/** The numbers of groups of ConnP-L that have a row. */
export const TABLE_GROUPS = [4, 8, 16, 32, 64, 128] as const

const MSGP = [89, 100, 100] as const
const CONNP_L: { readonly [groups: number]: readonly [number, number, number] } = {
  4: [60, 56, 52],
  8: [51, 30, 26],
  16: [49, 18, 14],
  32: [41, 10, 7],
  64: [37, 6, 4],
  128: [33, 5, 2],
}

/** Percent; undefined where the table says nothing. Its authors left ConnP-T out, which has no such locks; a giant one they do not have. */
export function publishedContention(discipline: string, connections: number, groups = 0): number | undefined {
  const column = (TABLE_CONNECTIONS as readonly number[]).indexOf(connections)
  const row = discipline === 'msgp' ? MSGP : discipline === 'connp-l' ? CONNP_L[groups] : undefined
  return row?.[column]
}
