// A worker that is not held up if nobody reads its log, and exits with 0.
const { setTimeout: sleep } = require('node:timers/promises')

const patience = 1000 // ms for the last lines of the log
const maxQueued = 1 << 20 // characters that wait in memory

const work = () => sleep(200)

function log (line) {
  if (process.stdout.writableLength < maxQueued) { // otherwise nobody reads: the line is dropped
    process.stdout.write(line + '\n') // into a pipe it does not wait, unlike fs.writeSync
  }
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
  process.stdout.write('', () => process.exit(0)) // called when all is written
  setTimeout(() => process.exit(0), patience)
}

run()
