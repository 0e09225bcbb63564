// A server of HTTP/2 that sends GOAWAY on its connections, and exits with 0.
const http2 = require('node:http2')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 5000 // ms for requests: delay and patience fit into the grace period

const server = http2.createServer((request, response) => response.end('hello\n'))

const sessions = new Set()
server.on('session', (session) => {
  sessions.add(session)
  session.on('close', () => sessions.delete(session))
})

process.on('SIGTERM', () => {
  setTimeout(() => {
    server.close(() => process.exit(0)) // called when the last request has been answered
    for (const session of sessions) {
      session.close() // it sends GOAWAY: the client sends its next request to another pod
    }
    setTimeout(() => process.exit(1), patience)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
