// The stack as a server, for the workload "tun": opens a TUN device in the network namespace that it is started in, and serves
// the services of service.ts on it. Prints "ready" when they listen, and goes on until it is told to end.
//
//   node dist/src/lab/tun/server.js [--spin]
//
// With --spin its CPU never sleeps.
import { configureInterface, QUEUE_LENGTH } from '../../device/linux/interface.ts'
import { openServiceTun, serviceMachine } from './service-machine.ts'

const DEVICE = 'df0'

const tun = openServiceTun(DEVICE)
configureInterface(DEVICE, { address: '10.77.0.1/24', queueLength: QUEUE_LENGTH, up: true })
const machine = await serviceMachine(tun, process.argv.includes('--spin'))
console.log('ready')
await machine.done
