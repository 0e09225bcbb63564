# A job that takes long. At a stop it has some seconds, and is handed over when they are not enough.
PATIENCE = 2 # seconds: it is shorter than the grace

def work
  sleep 3600
end

stopping = Thread::Queue.new
trap('TERM') { stopping << true }

job = Thread.new { work; stopping << true }
stopping.pop
job.join(PATIENCE) or puts 'not finished: the next one begins it anew'
