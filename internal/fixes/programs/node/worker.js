// A worker that finishes its current item after the signal, and exits with 0.
const { setTimeout: sleep } = require('node:timers/promises')

const work = () => sleep(200)

let stopping = false
process.on('SIGTERM', () => { stopping = true })
process.on('SIGINT', () => { stopping = true })

async function run () {
  while (!stopping) {
    await work()
  }
}

run()
