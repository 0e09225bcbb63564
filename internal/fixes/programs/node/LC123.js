// A worker that says in a file that it is ready, and breaks when it is told twice to stop.
const fs = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')

const ready = process.env.READY || '/tmp/ready'
const work = () => sleep(200)
const flush = () => sleep(1000)

let stopping = false
process.on('SIGTERM', () => {
  stopping = true
  fs.unlinkSync(ready)
})

async function run () {
  fs.writeFileSync(ready, '')
  while (!stopping) {
    await work()
  }
  await flush()
}

run()
