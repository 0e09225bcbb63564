// A server that closes idle connections without having said so in an answer.
const http = require('node:http')

const delay = 2000 // ms after the signal, while clients are still sent here
const patience = 20000 // ms for requests: delay and patience fit into the grace

const server = http.createServer((request, response) => {
  setTimeout(() => {
    response.end('hello\n')
  }, request.url === '/slow' ? 3000 : 0)
})

process.on('SIGTERM', () => {
  setTimeout(() => {
    server.close(() => process.exit(0)) // called when the last request was answered
    setInterval(() => server.closeIdleConnections(), 100)
    setTimeout(() => process.exit(1), patience)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
