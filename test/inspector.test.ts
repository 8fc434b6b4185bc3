// What Chrome DevTools shows of a process with --inspect, over the same protocol: of an event loop, and of worker threads.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'undici'

interface StackTrace {
  readonly description?: string
  readonly callFrames: readonly { readonly functionName: string }[]
  readonly parent?: StackTrace
}
type Message = { readonly id?: number; readonly method?: string; readonly params?: never; readonly result?: unknown }

const TIMEOUT_MS = 20_000

const CHILD = fileURLToPath(new URL('./inspector-child.js', import.meta.url))

/** The child's main thread as a debugger has it; `send` for its own, and for its workers. */
async function attach(child: ChildProcess): Promise<WebSocket> {
  for await (const line of createInterface({ input: child.stderr! })) {
    const [, url] = /Debugger listening on (ws:\S+)/.exec(line) ?? []
    if (url === undefined) continue
    child.stderr!.resume()
    const socket = new WebSocket(url)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', reject)
    })
    return socket
  }
  throw new Error('the child has ended before it listened')
}

/** The first asynchronous stack behind a "probe", with those behind it. */
async function shown(host: 'threads' | 'inline'): Promise<StackTrace[]> {
  const child = spawn(process.execPath, ['--inspect=127.0.0.1:0', CHILD, host], { stdio: ['ignore', 'ignore', 'pipe'] })
  let socket: WebSocket | undefined
  try {
    socket = await attach(child)
    return await new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error('no stack was shown')), TIMEOUT_MS).unref()
      let id = 0
      const post = (method: string, params: object = {}) => socket!.send(JSON.stringify({ id: ++id, method, params }))
      const setUp = (to: (method: string, params?: object) => void) => {
        to('Runtime.enable')
        to('Debugger.enable')
        to('Debugger.setAsyncCallStackDepth', { maxDepth: 32 })
      }
      const onMessage = ({ method, params }: Message) => {
        if (method === 'NodeWorker.attachedToWorker') {
          const { sessionId } = params as unknown as { sessionId: string }
          setUp((name, parameters = {}) =>
            post('NodeWorker.sendMessageToWorker', {
              sessionId,
              message: JSON.stringify({ id: ++id, method: name, params: parameters }),
            }),
          )
        } else if (method === 'NodeWorker.receivedMessageFromWorker') {
          onMessage(JSON.parse((params as unknown as { message: string }).message) as Message)
        } else if (method === 'Runtime.consoleAPICalled') {
          const { type, stackTrace } = params as unknown as { type: string; stackTrace: StackTrace }
          const stacks: StackTrace[] = []
          for (let stack = stackTrace.parent; stack !== undefined; stack = stack.parent) stacks.push(stack)
          // What was sent before this debugger came has no stack.
          if (type === 'trace' && stacks.length > 1) resolve(stacks)
        }
      }
      socket!.addEventListener('message', ({ data }) => onMessage(JSON.parse(String(data)) as Message))
      setUp(post)
      post('NodeWorker.enable', { waitForDebuggerOnStart: false })
    })
  } finally {
    socket?.close()
    child.kill('SIGKILL')
  }
}

test('on an event loop a handler is shown behind the stack of its sender', async () => {
  const [sent, before] = await shown('inline')
  assert.match(sent!.description!, /^sent by cpu 0 on port probed$/)
  assert.ok(sent!.callFrames.some(({ functionName }) => functionName === 'asks'))
  assert.match(before!.description!, /^timer armed by cpu 0/)
})

test('on worker threads a handler is shown behind the name of its sender, and that one behind its own cause', async () => {
  const [sent, before] = await shown('threads')
  assert.match(sent!.description!, /^sent by cpu 0 on port probed: asks \(inspector-program\.ts:\d+\)$/)
  assert.match(before!.description!, /^timer armed by cpu 0 for [^:]+: askLater \(inspector-program\.ts:\d+\)$/)
})
