# A server of lines on TCP that resets the connections that are open when it exits.
require 'socket'

DELAY = 3 # seconds after the signal, while clients are still routed here

def serve(connection)
  connection.setsockopt(Socket::Option.linger(true, 0)) # no TIME_WAIT
  connection.write "pong\n" while connection.gets
rescue SystemCallError
  # The client has gone.
ensure
  connection.close
end

server = TCPServer.new(ENV.fetch('HOST', '0.0.0.0'), ENV.fetch('PORT', '8080'))
server.listen 128

trap('TERM') do
  Thread.new { sleep DELAY; server.close }
end

begin
  loop do
    Thread.new(server.accept) { |connection| serve(connection) }
  end
rescue IOError
  # The listener is closed.
end
