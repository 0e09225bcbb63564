// A server of lines on TCP that resets the connections that are open when it exits.
const net = require('node:net')
const readline = require('node:readline')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 5000 // ms for clients that do not close their side

const connections = new Set()

const server = net.createServer((connection) => {
  connections.add(connection)
  connection.on('close', () => connections.delete(connection))
  connection.on('error', () => {})
  readline.createInterface({ input: connection }).on('line', () => {
    connection.write('pong\n')
  })
})

process.on('SIGTERM', () => {
  setTimeout(() => {
    server.close(() => process.exit(0)) // called when the last connection is closed
    for (const connection of connections) {
      connection.resetAndDestroy() // no TIME_WAIT
    }
    setTimeout(() => process.exit(0), patience)
  }, delay)
})

server.listen(process.env.PORT || 8080, process.env.HOST)
