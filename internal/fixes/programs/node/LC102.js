// A long job. At a stop the program waits for it, however long that takes.
const { setTimeout: sleep } = require('node:timers/promises')

const work = () => sleep(3600 * 1000)

const done = work()

process.on('SIGTERM', async () => {
  await done
  process.exit(0)
})
