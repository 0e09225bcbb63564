# A worker that exits as if the signal had terminated it.
stopping = false
trap('TERM') { exit 143 }
trap('INT') { stopping = true }

def work
  sleep 0.2
end

work until stopping
