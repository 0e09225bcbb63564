// A worker that takes commands on a Unix socket, and starts again after a crash.
const fs = require('node:fs')
const net = require('node:net')

const path = process.env.SOCKET || '/tmp/worker.sock'
const server = net.createServer((connection) => connection.end('working\n'))

fs.rmSync(path, { force: true }) // a killed process leaves its socket behind
server.listen(path)

process.on('SIGTERM', () => server.close()) // it removes the socket
