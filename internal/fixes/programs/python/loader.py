"""A server that answers its liveness probe while it loads its data, and is ready when it has."""
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = 3  # seconds after the signal, while clients are still routed here

loaded = threading.Event()
stopping = threading.Event()


def load():
    time.sleep(10)
    loaded.set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds for which a connection may be idle

    def do_GET(self):
        if self.path == "/livez":
            self.send_response(200)
        elif not loaded.is_set() or self.path == "/readyz" and stopping.is_set():
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


def stop():
    time.sleep(DELAY)
    server.shutdown()


def on_signal(number, frame):
    stopping.set()
    threading.Thread(target=stop).start()


signal.signal(signal.SIGTERM, on_signal)
threading.Thread(target=load, daemon=True).start()
server.serve_forever()
server.server_close()
