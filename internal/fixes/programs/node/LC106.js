// A worker that exits as if the signal had terminated it.
const { setTimeout: sleep } = require('node:timers/promises')

const work = () => sleep(200)

let stopping = false
process.on('SIGTERM', () => process.exit(128 + 15))
process.on('SIGINT', () => { stopping = true })

async function run () {
  while (!stopping) {
    await work()
  }
}

run()
