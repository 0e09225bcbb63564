# A server that stops accepting connections as soon as it gets the signal.
require 'socket'
require 'timeout'

PATIENCE = 20 # seconds for requests: it fits into the grace period

$stopping = false # since the signal
$closing = false

def answer(connection, request)
  sleep 4 if request.start_with?('GET /slow')
  close = "Connection: close\r\n" if $stopping # the next request goes to another pod
  status = '200 OK'
  # It is alive, but should get no new clients.
  status = '503 Service Unavailable' if $stopping && request.start_with?('GET /readyz')
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
  Thread.new { $closing = true; server.close }
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
