// A worker that finishes the item at which the signal finds it, and ends with 0.
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
