// A program on the kernel that connects to the stack so many times, and ends. See tun-program.ts.
import { once } from 'node:events'
import { connect } from 'node:net'
import { Random } from '../../src/base/random.ts'
import { converse, someExchange } from '../../test/peer-stream.ts'

interface Given {
  readonly address: string
  readonly port: number
  readonly seed: number
  readonly connections: number
  readonly largest: number
}

const PARALLEL = 8

const { address, port, seed, connections, largest } = JSON.parse(process.argv[2]!) as Given
const random = new Random(seed)
process.on('SIGINT', () => {})
const orphaned = () => process.exit(1)
process.on('disconnect', orphaned)
let left = connections
await Promise.all(
  Array.from({ length: PARALLEL }, async () => {
    while (left-- > 0) {
      const socket = connect({ host: address, port, allowHalfOpen: true })
      await once(socket, 'connect')
      await converse(socket, someExchange(random, largest))
    }
  }),
)
process.off('disconnect', orphaned)
process.disconnect()
