// A worker that fills its cache at startup, and can be stopped meanwhile.
const { setTimeout: sleep } = require('node:timers/promises')

const load = (part) => sleep(200)

let stopping = false

async function run () {
  for (let part = 0; part < 300 && !stopping; part++) {
    await load(part)
  }
  while (!stopping) {
    await sleep(200) // the work
  }
}

process.on('SIGTERM', () => { stopping = true }) // before anything else
run()
