# A worker that writes a file when it is ready, and tolerates a second stop signal.
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
