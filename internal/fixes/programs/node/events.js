// A server that ends its event streams before it exits with 0.
const http = require('node:http')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 5000 // ms for requests: delay and patience fit into the grace period

const streams = new Set() // server.close waits for them, but ends none
let stopping = false

const server = http.createServer((request, response) => {
  if (stopping) {
    response.setHeader('Connection', 'close') // the next request goes to another pod
  }
  if (request.url === '/events') {
    stream(response)
    return
  }
  response.end('hello\n')
})

function stream (response) {
  response.setHeader('Content-Type', 'text/event-stream')
  response.write('data: hello\n\n')
  const timer = setInterval(() => response.write('data: hello\n\n'), 1000)
  const end = () => {
    clearInterval(timer)
    streams.delete(end)
    response.end() // it marks the end of the stream: then the client asks again
  }
  streams.add(end)
  response.on('close', end) // the client has gone
}

process.on('SIGTERM', () => {
  stopping = true
  setTimeout(() => {
    server.close(() => process.exit(0)) // called when the last request has been answered
    streams.forEach((end) => end())
    setTimeout(() => process.exit(0), patience)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
