# A worker that waits until somebody reads its log.
def log(line)
  $stdout.syswrite "#{line}\n"
end

stopping = false
trap('TERM') { stopping = true }
trap('INT') { stopping = true }

def work
  sleep 0.2
end

until stopping
  work
  log 'one more item is done'
end
log 'stopped'
