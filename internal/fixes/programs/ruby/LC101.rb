# A worker that ignores the stop signal: only SIGKILL ends it.
trap('TERM', 'IGNORE')

def work
  sleep 0.2
end

loop { work }
