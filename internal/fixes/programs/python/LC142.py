"""A server that exits while its WebSockets are open."""
import base64
import contextlib
import hashlib
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = 3  # seconds after the signal, while clients are still routed here

# A frame, without a library for WebSockets.
MESSAGE = b"\x81\x05hello"


class Handler(BaseHTTPRequestHandler):
    timeout = 2  # seconds for a request

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
        while True:
            self.wfile.write(MESSAGE)
            time.sleep(1)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True  # server_close would wait for WebSockets that do not end
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
