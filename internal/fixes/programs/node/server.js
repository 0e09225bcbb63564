// A server that keeps accepting while clients are still routed to it, answers every request
// that it has accepted, and exits with 0.
const http = require('node:http')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 20000 // ms for requests: delay and patience fit into the grace period

let stopping = false

const server = http.createServer((request, response) => {
  setTimeout(() => {
    if (stopping) {
      response.setHeader('Connection', 'close') // the next request goes to another pod
    }
    if (stopping && request.url === '/readyz') {
      response.statusCode = 503 // it is alive, but should get no new clients
    }
    response.end('hello\n')
  }, request.url === '/slow' ? 4000 : 0)
})

process.on('SIGTERM', () => {
  stopping = true
  setTimeout(() => {
    server.close(() => process.exit(0)) // called when the last request has been answered
    setTimeout(() => process.exit(1), patience)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
