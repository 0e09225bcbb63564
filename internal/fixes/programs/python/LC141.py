"""A server that exits while its event streams are open."""
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = 3  # seconds after the signal, while clients are still routed here

stopping = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds for which a connection may be idle

    def do_GET(self):
        self.send_response(200)
        if stopping.is_set():
            self.send_header("Connection", "close")  # the next request goes to another pod
        if self.path == "/events":
            self.stream()
            return
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def stream(self):
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.send_chunk(b"data: hello\n\n")
            time.sleep(1)

    def send_chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True  # server_close would wait for streams that do not end
    request_queue_size = 128


server = Server((os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080"))), Handler)


def stop():
    time.sleep(DELAY)
    server.shutdown()


def on_signal(number, frame):
    stopping.set()
    threading.Thread(target=stop).start()


signal.signal(signal.SIGTERM, on_signal)
server.serve_forever()
server.server_close()
