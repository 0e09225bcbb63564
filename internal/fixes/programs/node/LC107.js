// A worker that ends well when its author presses Ctrl-C, and only then.
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
