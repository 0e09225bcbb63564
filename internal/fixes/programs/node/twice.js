// A worker that writes a file when it is ready, and tolerates a second stop signal.
const fs = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')

const ready = process.env.READY || '/tmp/ready'
const work = () => sleep(200)
const flush = () => sleep(1000)

let stopping = false
process.on('SIGTERM', () => {
  stopping = true
  fs.rmSync(ready, { force: true })
})

async function run () {
  fs.writeFileSync(ready, '')
  while (!stopping) {
    await work()
  }
  await flush()
}

run()
