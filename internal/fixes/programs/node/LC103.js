// A server that exits while requests are in flight.
const http = require('node:http')

const delay = 3000 // ms after the signal, while clients are still routed here

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
    server.close()
    process.exit(0)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
