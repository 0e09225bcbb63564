"""A server of lines on TCP that closes its connections, resets none, and exits with 0."""
import contextlib
import os
import signal
import socket
import socketserver
import threading
import time

DELAY = 3  # seconds after the signal, while clients are still routed here
PATIENCE = 5  # seconds for clients that do not close their side

closing = threading.Event()  # since no client is routed here any more
connections = set()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        connections.add(self.connection)
        with contextlib.suppress(OSError):  # the client has gone
            for _ in self.rfile:
                if not closing.is_set():
                    self.wfile.write(b"pong\n")
        connections.discard(self.connection)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True  # clients that do not close their side are not waited for
    request_queue_size = 128


server = Server((os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080"))), Handler)


def stop():
    time.sleep(DELAY)
    server.shutdown()


def on_signal(number, frame):
    threading.Thread(target=stop).start()


signal.signal(signal.SIGTERM, on_signal)
server.serve_forever()
server.server_close()
closing.set()
# No answer is lost: each client reads up to the end, and then closes its side.
for connection in list(connections):
    with contextlib.suppress(OSError):  # the client has gone
        connection.shutdown(socket.SHUT_WR)
deadline = time.monotonic() + PATIENCE
while connections and time.monotonic() < deadline:
    time.sleep(0.05)
