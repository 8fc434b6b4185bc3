// Several at a time. For ../test-node.ts.

/**
 * Works on `items` in their order, `jobs` of them at a time, and stops starting more once `interrupt` has aborted.
 *
 * @param work gets the item, and the number of the worker, from 0
 * @returns the results of what was started, in the order of the items
 */
export async function runAll<Item, Result>(
  items: readonly Item[],
  jobs: number,
  interrupt: AbortSignal,
  work: (item: Item, worker: number) => Promise<Result>,
): Promise<Result[]> {
  const results = new Map<number, Result>()
  let next = 0
  const worker = async (number: number) => {
    while (next < items.length && !interrupt.aborted) {
      const index = next++
      results.set(index, await work(items[index]!, number))
    }
  }
  await Promise.all(Array.from({ length: Math.min(jobs, items.length) }, (_, number) => worker(number)))
  return [...results].sort(([a], [b]) => a - b).map(([, result]) => result)
}
