// A job that takes long. At a stop it has some seconds, and is handed over when they are not enough.
const { setTimeout: sleep } = require('node:timers/promises')

const patience = 2000 // ms: it is shorter than the grace

const work = () => sleep(3600 * 1000)

const done = work()

process.on('SIGTERM', async () => {
  await Promise.race([done, sleep(patience)])
  process.exit(0) // not finished: the next one begins it anew
})
