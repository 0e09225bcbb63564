# A worker that takes commands on a Unix socket, and does not start again after a crash.
require 'socket'

path = ENV.fetch('SOCKET', '/tmp/worker.sock')
stopping = false
trap('TERM') { stopping = true }

commands = UNIXServer.new(path)
sleep 0.2 until stopping
commands.close
File.delete path
