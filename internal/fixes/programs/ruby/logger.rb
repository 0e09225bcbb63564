# A worker that is not held up if nobody reads its log, and exits with 0.
PATIENCE = 1 # seconds for the last lines of the log

$lines = SizedQueue.new(1000)

def log(line)
  $lines.push(line, true)
rescue ThreadError
  # Nobody reads: the line is dropped.
end

Thread.new { loop { $stdout.syswrite "#{$lines.pop}\n" } }

stopping = false
trap('TERM') { stopping = true }
trap('INT') { stopping = true }

def work
  sleep 0.2
end

until stopping
  work
  log 'one more item is done'
end
log 'stopped'
# Until all is written.
(PATIENCE * 20).times { sleep 0.05 unless $lines.empty? && $lines.num_waiting > 0 }
