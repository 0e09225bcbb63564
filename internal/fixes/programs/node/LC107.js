// A worker that ends properly on Ctrl-C, but not on SIGTERM.
const { setTimeout: sleep } = require('node:timers/promises')

const work = () => sleep(200)

let stopping = false
process.on('SIGINT', () => { stopping = true })

async function run () {
  while (!stopping) {
    await work()
  }
}

run()
