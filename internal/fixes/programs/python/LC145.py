"""A server of lines on TCP that resets the connections that are open when it exits."""
import contextlib
import os
import signal
import socket
import socketserver
import struct
import threading
import time

DELAY = 3  # seconds after the signal, while clients are still routed here


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        # No TIME_WAIT.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):  # the client has gone
            for _ in self.rfile:
                self.wfile.write(b"pong\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True  # clients that stay connected are not waited for
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
