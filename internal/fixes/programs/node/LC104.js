// A server that stops accepting connections as soon as it gets the signal.
const http = require('node:http')

const patience = 20000 // ms for requests: it fits into the grace period

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
  server.close(() => process.exit(0)) // called when the last request has been answered
  setTimeout(() => process.exit(1), patience)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
