// A long job. At a stop it gets some seconds to finish, or else it is handed over.
const { setTimeout: sleep } = require('node:timers/promises')

const patience = 2000 // ms: it is shorter than the grace period

const work = () => sleep(3600 * 1000)

const done = work()

process.on('SIGTERM', async () => {
  await Promise.race([done, sleep(patience)])
  process.exit(0) // not finished: the next one starts it again
})
