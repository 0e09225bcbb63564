// A worker that fills its cache at startup, and cannot be stopped meanwhile.
const { setTimeout: sleep } = require('node:timers/promises')

const load = (part) => sleep(200)

let stopping = false

async function run () {
  for (let part = 0; part < 300; part++) {
    await load(part)
  }
  process.on('SIGTERM', () => { stopping = true })
  while (!stopping) {
    await sleep(200) // the work
  }
}

run()
