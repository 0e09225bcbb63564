# A server that ends while requests are under way.
require 'socket'

DELAY = 2 # seconds after the signal, while clients are still sent here

$stopping = false # since the signal
$closing = false # since no client is sent here any more

def answer(connection, request)
  sleep 3 if request.start_with?('GET /slow')
  close = "Connection: close\r\n" if $stopping # who keeps it asks another pod next
  connection.write "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n#{close}\r\nhello\n"
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

begin
  loop do
    Thread.new(server.accept) { |connection| serve(connection) }
  end
rescue IOError
  # The listener is closed.
end
