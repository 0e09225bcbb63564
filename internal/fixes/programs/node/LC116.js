// A server that answers its liveness probe only when it has loaded its data.
const http = require('node:http')
const { setTimeout: sleep } = require('node:timers/promises')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 10000 // ms for requests: delay and patience fit into the grace period

let loaded = false
let stopping = false

async function load () {
  await sleep(10000)
  loaded = true
}

const server = http.createServer((request, response) => {
  if (stopping) {
    response.setHeader('Connection', 'close') // the next request goes to another pod
  }
  if (request.url !== '/livez' && (!loaded || (stopping && request.url === '/readyz'))) {
    response.statusCode = 503 // it is alive, but should get no new clients
  }
  response.end('hello\n')
})

process.on('SIGTERM', () => {
  stopping = true
  setTimeout(() => {
    server.close(() => process.exit(0)) // called when the last request has been answered
    setTimeout(() => process.exit(1), patience)
  }, delay)
})

load().then(() => server.listen(process.env.PORT || 8080, process.env.HOST))
