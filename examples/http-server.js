// A web server as anybody would write it: nothing here knows of Damselfly.
//
//   damselfly run examples/http-server.js                          the stack on the program's own thread
//   damselfly run --cpus 2 --instances examples/http-server.js     the program once on each of two CPUs
//
//   curl http://10.77.0.2:8080/
import { createServer } from 'node:http'
import { threadId } from 'node:worker_threads'

let served = 0

createServer((request, response) => {
  served++
  response.setHeader('content-type', 'text/plain')
  response.end(
    `${request.method} ${request.url} for ${request.socket.remoteAddress}, number ${served} of thread ${threadId}\n`,
  )
}).listen(8080, () => console.log('http://10.77.0.2:8080/'))
