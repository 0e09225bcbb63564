// A server that answers with errors after the signal.
const http = require('node:http')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 20000 // ms for requests: delay and patience fit into the grace period

let stopping = false

const server = http.createServer((request, response) => {
  setTimeout(() => {
    if (stopping) {
      response.setHeader('Connection', 'close') // the next request goes to another pod
    }
    if (stopping) {
      response.statusCode = 503
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
