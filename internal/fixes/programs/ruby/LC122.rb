# A worker that fills its cache at startup, and cannot be stopped meanwhile.
def load(_part)
  sleep 0.2
end

stopping = false
trap('TERM') { stopping = true }

300.times do |part|
  load part
end
sleep 0.2 until stopping # the work
