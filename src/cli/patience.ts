// Waiting for something on an instance that runs, for as long as the user says: by orders that are answered soon, so that an instance which
// is stuck can be told from one that waits.

/** How long one order may take to be answered. */
const PATIENCE_MS = 2000

/** Asks until what is answered is `enough`, or `waitMs` is over: then it is the last answer. */
export async function askFor<Answer>(
  waitMs: number,
  ask: (patienceMs: number, earlier: Answer | undefined) => Promise<Answer>,
  enough: (answer: Answer) => boolean,
): Promise<Answer> {
  let leftMs = waitMs
  let answer: Answer | undefined
  for (;;) {
    const patienceMs = Math.min(leftMs, PATIENCE_MS)
    answer = await ask(patienceMs, answer)
    leftMs -= patienceMs
    if (leftMs <= 0 || enough(answer)) return answer
  }
}
