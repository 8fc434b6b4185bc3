// A program that never gives its CPU back, once it has begun.
import type { Thread } from '../../kernel/thread.ts'

export default function* stuck(thread: Thread): Generator<void, void, void> {
  yield* thread.pause()
  for (;;);
}
