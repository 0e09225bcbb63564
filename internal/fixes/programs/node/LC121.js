// A worker that takes commands on a Unix socket, and does not start again after a crash.
const net = require('node:net')

const path = process.env.SOCKET || '/tmp/worker.sock'
const server = net.createServer((connection) => connection.end('working\n'))

server.listen(path)

process.on('SIGTERM', () => server.close()) // it removes the socket
