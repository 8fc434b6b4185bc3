// The last step of a packet on this CPU: it is given to a queue of a device. Where packets are traced it is a hop of its own, for
// there may have been waits before: for ARP, at a boundary that is a queue, for another CPU.
import type { Address } from '../base/struct.ts'
import type { DeviceQueue } from '../device/device.ts'
import { Mbuf } from '../device/mbuf.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { HOP } from '../kernel/trace/tracer.ts'

const TOTAL = Mbuf.offset.total >> 2

/** As the queue's own `transmit`. */
export function transmit(cpu: Cpu, queue: DeviceQueue, packet: Address): boolean {
  // A boundary's queue transmits what it has kept, by this function too.
  if (cpu.traceMarks !== 0 && cpu.tracer.concerns(packet) && queue.isBoundary !== true)
    leaves(cpu, queue.info.name, packet)
  return queue.transmit(packet)
}

/** A packet is to its own host: it leaves and arrives in one step. Where packets are traced, for who sends it to the queue of its owner. */
export function loop(cpu: Cpu, packet: Address): void {
  const { tracer, memory } = cpu
  const { current } = tracer
  leaves(cpu, LOOPBACK, packet)
  tracer.arrived(LOOPBACK, packet, memory.i32[(packet >> 2) + TOTAL]!)
  tracer.current = current
}

/** The name of a host's own interface. */
const LOOPBACK = 'lo'

function leaves({ tracer, memory }: Cpu, device: string, packet: Address): void {
  const cause = tracer.of(packet) || tracer.current
  tracer.packetOn(HOP.transmit, device, packet, memory.i32[(packet >> 2) + TOTAL]!, cause)
}
