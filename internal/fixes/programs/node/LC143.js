// A server of HTTP/2 that exits without GOAWAY.
const http2 = require('node:http2')

const delay = 3000 // ms after the signal, while clients are still routed here

const server = http2.createServer((request, response) => response.end('hello\n'))

process.on('SIGTERM', () => {
  setTimeout(() => {
    server.close()
    process.exit(0)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
