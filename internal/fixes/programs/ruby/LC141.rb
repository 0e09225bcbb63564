# A server that exits while its event streams are open.
require 'socket'

DELAY = 3 # seconds after the signal, while clients are still routed here
PATIENCE = 5 # seconds for requests: delay and patience fit into the grace period

$stopping = false # since the signal
$closing = false # since no client is routed here any more

def answer(connection)
  close = "Connection: close\r\n" if $stopping # the next request goes to another pod
  connection.write "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n#{close}\r\nhello\n"
  close
end

def stream(connection)
  connection.write "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
  loop do
    connection.write "d\r\ndata: hello\n\n\r\n" # a chunk of 13 bytes
    sleep 1
  end
end

def serve(connection)
  loop do
    until connection.wait_readable(0.2)
      return if $closing # it is idle
    end
    request = connection.gets or break
    while (header = connection.gets) && header != "\r\n"
    end
    return stream(connection) if request.start_with?('GET /events')
    break if answer(connection)
  end
rescue SystemCallError
  # The client has gone.
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
threads.each { |thread| thread.join(PATIENCE) }
