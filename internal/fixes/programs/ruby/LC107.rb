# A worker that ends well when its author presses Ctrl-C, and only then.
stopping = false
trap('INT') { stopping = true }

def work
  sleep 0.2
end

work until stopping
