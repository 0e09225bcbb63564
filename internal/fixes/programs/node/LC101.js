// A worker without a handler: as PID 1 it is not terminated by the signal.
const { setTimeout: sleep } = require('node:timers/promises')

const work = () => sleep(200)

async function run () {
  while (true) {
    await work()
  }
}

run()
