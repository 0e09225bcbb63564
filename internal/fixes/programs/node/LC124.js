// A worker that waits until somebody reads its log.
const fs = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')

const work = () => sleep(200)

function log (line) {
  fs.writeSync(1, line + '\n') // as libraries do that write logs synchronously
}

let stopping = false
process.on('SIGTERM', () => { stopping = true })
process.on('SIGINT', () => { stopping = true })

async function run () {
  while (!stopping) {
    await work()
    log('one more item is done')
  }
  log('stopped')
}

run()
