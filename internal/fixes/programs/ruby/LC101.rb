# A worker that is not to be disturbed: only SIGKILL ends it.
trap('TERM', 'IGNORE')

def work
  sleep 0.2
end

loop { work }
