// The echo service (RFC 862) over UDP, on every CPU of a host: what comes goes back, in the packet that it came in.
import type { Address } from '../base/struct.ts'
import { MbufFlag } from '../device/mbuf.ts'
import { counterSet } from '../kernel/counters.ts'
import type { Stack } from '../stack.ts'

export const EchoCounters = counterSet('echo', ['echoed', 'refused'] as const)

/** Below this a sender is a service itself: answering it could begin a loop of two services that never ends (CVE-1999-0103). */
const FIRST_CLIENT_PORT = 1024

/** Opens this CPU's echo socket. `ready` is called when it is bound. @throws KernelError as UdpSockets.open */
export function echo(stack: Stack, port: number, ready: (error: Error | undefined) => void): void {
  const { mbufs } = stack.context
  const m = stack.context.mbuf()
  const count = stack.context.count(EchoCounters)
  stack.udp.open(
    {
      port,
      perCpu: true,
      onReadable: (socket) => {
        for (let packet: Address = socket.receive(); packet !== 0; packet = socket.receive()) {
          m.at = packet
          // Nor is what was sent to all answered by each: that is an amplifier (CERT CA-1998-01).
          if (m.sourcePort < FIRST_CLIENT_PORT || (m.flags & MbufFlag.LINK_BROADCAST) !== 0) {
            count[EchoCounters.index.refused]!++
            mbufs.free(packet)
          } else {
            count[EchoCounters.index.echoed]!++
            socket.sendBack(packet)
          }
        }
      },
    },
    (error) => ready(error),
  )
}
