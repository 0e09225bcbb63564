"""A server that keeps its database connection until the last request is answered, and exits with 0."""
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = 3  # seconds after the signal, while clients are still routed here

stopping = threading.Event()


class Connection:
    """It stands for a connection to a database."""

    def __init__(self):
        time.sleep(4)  # TLS, a login, and a cold cache

    def query(self):
        return b"hello\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds for which a connection may be idle

    def do_GET(self):
        connection = database or Connection()  # for this request alone
        answer = connection.query()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        if stopping.is_set():
            self.send_header("Connection", "close")  # the next request goes to another pod
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the threads that answer
    request_queue_size = 128


def stop():
    time.sleep(DELAY)
    server.shutdown()


def on_signal(number, frame):
    stopping.set()
    threading.Thread(target=stop).start()


signal.signal(signal.SIGTERM, on_signal)
database = Connection()
server = Server((os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080"))), Handler)
server.serve_forever()
server.server_close()
database = None  # closed
