# A server that exits while its WebSockets are open.
require 'digest'
require 'socket'

DELAY = 3 # seconds after the signal, while clients are still routed here
PATIENCE = 2 # seconds for requests: delay and patience fit into the grace period

# A frame, without a library for WebSockets.
MESSAGE = "\x81\x05hello".b

def talk(connection, key)
  accept = Digest::SHA1.base64digest("#{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
  connection.write "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                   "Sec-WebSocket-Accept: #{accept}\r\n\r\n"
  loop do
    connection.write MESSAGE
    sleep 1
  end
end

def serve(connection)
  key = nil
  while (line = connection.gets) && line != "\r\n"
    key = line.split(': ', 2).last.strip if line.downcase.start_with?('sec-websocket-key:')
  end
  return talk(connection, key) if key
  connection.write "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"
rescue SystemCallError, EOFError
  # The client has gone.
ensure
  connection.close
end

server = TCPServer.new(ENV.fetch('HOST', '0.0.0.0'), ENV.fetch('PORT', '8080'))
server.listen 128

trap('TERM') do
  Thread.new { sleep DELAY; server.close }
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
