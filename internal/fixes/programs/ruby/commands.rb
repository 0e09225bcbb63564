# A worker that takes commands on a Unix socket, and starts again after a crash.
require 'fileutils'
require 'socket'

path = ENV.fetch('SOCKET', '/tmp/worker.sock')
stopping = false
trap('TERM') { stopping = true }

FileUtils.rm_f path # a killed process leaves its socket behind
commands = UNIXServer.new(path)
sleep 0.2 until stopping
commands.close
File.delete path
