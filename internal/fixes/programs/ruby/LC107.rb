# A worker that ends properly on Ctrl-C, but not on SIGTERM.
stopping = false
trap('INT') { stopping = true }

def work
  sleep 0.2
end

work until stopping
