# A worker that finishes its current item after the signal, and exits with 0.
stopping = false
trap('TERM') { stopping = true }
trap('INT') { stopping = true }

def work
  sleep 0.2
end

work until stopping
