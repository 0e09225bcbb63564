# A job that takes long. At a stop it is waited for, however long it takes.
def work
  sleep 3600
end

stopping = Thread::Queue.new
trap('TERM') { stopping << true }

job = Thread.new { work; stopping << true }
stopping.pop
job.join
