# A server of lines on TCP that closes its connections, resets none, and exits with 0.
require 'socket'

DELAY = 3 # seconds after the signal, while clients are still routed here
PATIENCE = 5 # seconds for clients that do not close their side

$closing = false # since no client is routed here any more

def serve(connection)
  until $closing
    next unless connection.wait_readable(0.2)
    connection.gets or return
    connection.write "pong\n"
  end
  connection.close_write
  # No answer is lost: the client reads up to the end, and then closes its side.
  connection.readpartial(4096) while connection.wait_readable(PATIENCE)
rescue SystemCallError, EOFError
  # The client has gone.
ensure
  connection.close
end

server = TCPServer.new(ENV.fetch('HOST', '0.0.0.0'), ENV.fetch('PORT', '8080'))
server.listen 128

trap('TERM') do
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
threads.each(&:join)
