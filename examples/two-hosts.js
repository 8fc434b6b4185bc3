// A laboratory in one process, without any privilege: a web server and its client, each a host of its own, with a bad link between
// them. How long do 10 requests of 100 kB each take over 50 ms and 3 % loss, one after the other and at once?
//
//   node examples/two-hosts.js [requests]
import { createHost, createNetwork } from 'damselfly'

const REQUESTS = Number(process.argv[2] ?? 10)
const BYTES = 100_000

const network = createNetwork({ delayMs: 25, loss: 0.03, seed: 1 })
const server = await createHost({ name: 'server', address: '10.0.0.2/24', network })
const client = await createHost({ name: 'client', address: '10.0.0.1/24', network })

const web = server.http.createServer((_request, response) => response.end(Buffer.alloc(BYTES, 'x')))
await new Promise((resolve) => web.listen(80, resolve))

function get() {
  return new Promise((resolve, reject) => {
    const request = client.http.request({ host: '10.0.0.2' }, (response) => {
      let bytes = 0
      response.on('data', (chunk) => {
        bytes += chunk.length
      })
      response.on('end', () => resolve(bytes))
    })
    request.on('error', reject)
    request.end()
  })
}

const requests = Array.from({ length: REQUESTS })

async function measure(name, run) {
  const began = performance.now()
  const bytes = await run()
  const seconds = (performance.now() - began) / 1000
  console.log(`${name}: ${bytes.reduce((sum, each) => sum + each)} bytes in ${seconds.toFixed(2)} s`)
}

await measure('one after the other', async () => {
  const bytes = []
  for (const _ of requests) bytes.push(await get())
  return bytes
})
await measure('at once', () => Promise.all(requests.map(get)))

await client.close()
await server.close()
await network.close()
