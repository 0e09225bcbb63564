# A long job. At a stop it gets some seconds to finish, or else it is handed over.
PATIENCE = 2 # seconds: it is shorter than the grace period

def work
  sleep 3600
end

stopping = Thread::Queue.new
trap('TERM') { stopping << true }

job = Thread.new { work; stopping << true }
stopping.pop
job.join(PATIENCE) or puts 'not finished: the next one starts it again'
