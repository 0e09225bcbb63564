# A worker that says in a file that it is ready, and may be told twice to stop.
require 'fileutils'

ready = ENV.fetch('READY', '/tmp/ready')
stopping = false
trap('TERM') do
  stopping = true
  FileUtils.rm_f ready
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
