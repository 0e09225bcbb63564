// A server that exits while its WebSockets are open.
const crypto = require('node:crypto')
const http = require('node:http')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 2000 // ms for requests: delay and patience fit into the grace period

// A frame, without a library for WebSockets.
const message = Buffer.from('\x81\x05hello', 'latin1')

const server = http.createServer((request, response) => {
  response.setHeader('Connection', 'close')
  response.end('hello\n')
})

server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${crypto.createHash('sha1').update(key).digest('base64')}\r\n\r\n`)
  const timer = setInterval(() => socket.write(message), 1000)
  socket.on('close', () => clearInterval(timer))
  socket.on('end', () => socket.end()) // the client has closed the connection
  socket.on('error', () => {})
  socket.resume() // what the client sends is not used here
})

process.on('SIGTERM', () => {
  setTimeout(() => {
    server.close(() => process.exit(0)) // called when the last connection is closed
    setTimeout(() => process.exit(0), patience)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
