# A server that closes its database connection at the signal, and then connects for each request.
require 'socket'
require 'timeout'

DELAY = 3 # seconds after the signal, while clients are still routed here
PATIENCE = 10 # seconds for requests: delay and patience fit into the grace period

# It stands for a connection to a database.
class Database
  def initialize
    sleep 4 # TLS, a login, and a cold cache
  end

  def query
    "hello\n"
  end
end

$stopping = false # since the signal
$closing = false # since no client is routed here any more

def answer(connection)
  database = $database || Database.new # for this request alone
  close = "Connection: close\r\n" if $stopping # the next request goes to another pod
  connection.write "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n#{close}\r\n#{database.query}"
  close
end

def serve(connection)
  loop do
    until connection.wait_readable(0.2)
      return if $closing # it is idle
    end
    connection.gets or break
    while (header = connection.gets) && header != "\r\n"
    end
    break if answer(connection)
  end
ensure
  connection.close
end

$database = Database.new
server = TCPServer.new(ENV.fetch('HOST', '0.0.0.0'), ENV.fetch('PORT', '8080'))
server.listen 128

trap('TERM') do
  $stopping = true
  $database = nil # closed
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
