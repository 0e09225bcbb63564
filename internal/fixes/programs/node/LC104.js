// A server that stops to accept when the signal comes.
const http = require('node:http')

const patience = 20000 // ms for requests: it fits into the grace

let stopping = false

const server = http.createServer((request, response) => {
  setTimeout(() => {
    if (stopping) {
      response.setHeader('Connection', 'close') // who keeps this connection asks another pod next
    }
    if (stopping && request.url === '/readyz') {
      response.statusCode = 503 // it is alive, but nobody should begin here
    }
    response.end('hello\n')
  }, request.url === '/slow' ? 4000 : 0)
})

process.on('SIGTERM', () => {
  stopping = true
  server.close(() => process.exit(0)) // called when the last request was answered
  setTimeout(() => process.exit(1), patience)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
