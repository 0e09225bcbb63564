# A worker that fills its cache at startup, and can be stopped meanwhile.
def load(_part)
  sleep 0.2
end

stopping = false
trap('TERM') { stopping = true }

300.times do |part|
  exit if stopping # nothing has begun yet
  load part
end
sleep 0.2 until stopping # the work
