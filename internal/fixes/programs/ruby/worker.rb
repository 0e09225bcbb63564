# A worker that finishes the item at which the signal finds it, and ends with 0.
stopping = false
trap('TERM') { stopping = true }
trap('INT') { stopping = true }

def work
  sleep 0.2
end

work until stopping
