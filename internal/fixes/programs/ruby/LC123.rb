# A worker that says in a file that it is ready, and breaks when it is told twice to stop.
require 'fileutils'

ready = ENV.fetch('READY', '/tmp/ready')
stopping = false
trap('TERM') do
  stopping = true
  File.delete ready
end

def work
  sleep 0.2
end

def flush
  sleep 1
end

FileUtils.touch ready
work until stopping
flush
