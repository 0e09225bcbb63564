// A job that takes long. At a stop it is waited for, however long it takes.
const { setTimeout: sleep } = require('node:timers/promises')

const work = () => sleep(3600 * 1000)

const done = work()

process.on('SIGTERM', async () => {
  await done
  process.exit(0)
})
