"""A server that stops accepting connections as soon as it gets the signal."""
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

stopping = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds for which a connection may be idle

    def do_GET(self):
        if self.path == "/slow":
            time.sleep(4)
        if self.path == "/readyz" and stopping.is_set():
            self.send_response(503)  # it is alive, but should get no new clients
        else:
            self.send_response(200)
        self.send_header("Content-Length", "6")
        if stopping.is_set():
            self.send_header("Connection", "close")  # the next request goes to another pod
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the threads that answer
    request_queue_size = 128


server = Server((os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080"))), Handler)


def on_signal(number, frame):
    stopping.set()
    threading.Thread(target=server.shutdown).start()


signal.signal(signal.SIGTERM, on_signal)
server.serve_forever()
server.server_close()
