"""A server that closes its WebSockets with a close frame before it exits with 0."""
import base64
import contextlib
import hashlib
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = 3  # seconds after the signal, while clients are still routed here

# Frames, without a library for WebSockets.
MESSAGE = b"\x81\x05hello"
CLOSE = b"\x88\x02\x03\xe9"  # 1001: the server goes away

closing = threading.Event()  # since no client is routed here any more


class Handler(BaseHTTPRequestHandler):
    timeout = 2  # seconds for a request, and for the answer to a close frame

    def do_GET(self):
        if self.path == "/ws":
            with contextlib.suppress(OSError):  # the client has gone
                self.talk()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def talk(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept.encode()
        )
        while not closing.wait(1):
            self.wfile.write(MESSAGE)
        self.wfile.write(CLOSE)
        while self.connection.recv(4096):
            pass  # until the client has answered, and closed the connection

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the threads of connections
    request_queue_size = 128


server = Server((os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080"))), Handler)


def stop():
    time.sleep(DELAY)
    server.shutdown()
    closing.set()


def on_signal(number, frame):
    threading.Thread(target=stop).start()


signal.signal(signal.SIGTERM, on_signal)
server.serve_forever()
server.server_close()
