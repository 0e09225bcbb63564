# A long job. At a stop the program waits for it, however long that takes.
def work
  sleep 3600
end

stopping = Thread::Queue.new
trap('TERM') { stopping << true }

job = Thread.new { work; stopping << true }
stopping.pop
job.join
