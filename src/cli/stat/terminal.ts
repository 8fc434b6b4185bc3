// The screen of `damselfly stat --live` on this process's own terminal, where it has one.
import type { Screen } from './live.ts'

/** Keys come one by one only while somebody listens: after that the terminal is as it was. */
export function terminal(): Screen {
  const { stdin, stdout } = process
  return {
    get size() {
      return stdout.isTTY ? { columns: stdout.columns || 80, rows: stdout.rows || 24 } : undefined
    },
    write: (text) => void stdout.write(text),
    keys: (onKey) => {
      if (!stdout.isTTY || !stdin.isTTY) return () => {}
      const listen = (bytes: Buffer) => {
        // What is typed quickly comes together; an escape sequence, of an arrow say, is no key of ours.
        const text = bytes.toString('latin1')
        if (!text.startsWith('\x1b')) for (const key of text) onKey(key)
      }
      stdin.setRawMode(true)
      stdin.on('data', listen)
      stdin.resume()
      return () => {
        stdin.off('data', listen)
        stdin.setRawMode(false)
        stdin.pause()
      }
    },
  }
}
