// Sends back what it gets, by TCP and by UDP, on port 7 (RFC 862).
//
//   damselfly run examples/echo-server.js
//
//   echo hello | nc -N 10.77.0.2 7
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', (error) => console.error(`${socket.remoteAddress}: ${error.message}`))
  socket.pipe(socket)
}).listen(7, () => console.log('TCP echo, port 7'))

const udp = createSocket('udp4')
udp.on('message', (message, from) => udp.send(message, from.port, from.address))
udp.bind(7, () => console.log('UDP echo, port 7'))
