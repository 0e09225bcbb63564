# A server that answers its liveness probe only when it has loaded its data.
require 'socket'
require 'timeout'

DELAY = 3 # seconds after the signal, while clients are still routed here
PATIENCE = 10 # seconds for requests: delay and patience fit into the grace period

$loaded = false
$stopping = false # since the signal
$closing = false # since no client is routed here any more

def load_data
  sleep 10
  $loaded = true
end

def answer(connection, request)
  path = request.split[1]
  close = "Connection: close\r\n" if $stopping # the next request goes to another pod
  status = '200 OK'
  if path != '/livez' && (!$loaded || $stopping && path == '/readyz')
    status = '503 Service Unavailable' # it is alive, but should get no new clients
  end
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

load_data
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
