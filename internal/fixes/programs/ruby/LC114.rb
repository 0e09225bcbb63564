# A server that gives readiness and liveness probes the same answer.
require 'socket'
require 'timeout'

DELAY = 3 # seconds after the signal, while clients are still routed here
PATIENCE = 20 # seconds for requests: delay and patience fit into the grace period

$stopping = false # since the signal
$closing = false # since no client is routed here any more

def answer(connection, request)
  sleep 4 if request.start_with?('GET /slow')
  close = "Connection: close\r\n" if $stopping # the next request goes to another pod
  status = '200 OK'
  status = '503 Service Unavailable' if $stopping && request.match?('^GET /(ready|live)z ')
  connection.write "HTTP/1.1 #{status}\r\nContent-Length: 6\r\n#{close}\r\nhello\n"
  close
end

def serve(connection)
  loop do
    until connection.wait_readable(0.2)
      return if $closing # it is idle
    end
    request = connection.gets or break
    while (header = connection.gets) && header != "\r\n"
    end
    break if answer(connection, request)
  end
ensure
  connection.close
end

server = TCPServer.new(ENV.fetch('HOST', '0.0.0.0'), ENV.fetch('PORT', '8080'))
server.listen 128

trap('TERM') do
  $stopping = true
  Thread.new { sleep DELAY; $closing = true; server.close }
end

threads = []
begin
  loop do
    threads.select!(&:alive?)
    threads << Thread.new(server.accept) { |connection| serve(connection) }
  end
rescue IOError
  # The listener is closed.
end
Timeout.timeout(PATIENCE) { threads.each(&:join) }
