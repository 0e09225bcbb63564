// A server that keeps its database connection until the last request is answered, and exits with 0.
const http = require('node:http')
const { setTimeout: sleep } = require('node:timers/promises')

const delay = 3000 // ms after the signal, while clients are still routed here
const patience = 10000 // ms for requests: delay and patience fit into the grace period

// It stands for a connection to a database.
async function connect () {
  await sleep(4000) // TLS, a login, and a cold cache
  return { query: async () => 'hello\n' }
}

let database = null
let stopping = false

const server = http.createServer(async (request, response) => {
  const connection = database ?? await connect() // for this request alone
  const answer = await connection.query()
  if (stopping) {
    response.setHeader('Connection', 'close') // the next request goes to another pod
  }
  response.end(answer)
})

process.on('SIGTERM', () => {
  stopping = true
  setTimeout(() => {
    server.close(() => { // called when the last request has been answered
      database = null // closed
      process.exit(0)
    })
    setTimeout(() => process.exit(1), patience)
  }, delay)
})

connect().then((connection) => {
  database = connection
  server.listen(process.env.PORT || 8080, process.env.HOST)
})
