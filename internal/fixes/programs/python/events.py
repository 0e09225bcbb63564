"""A server that ends its event streams before it exits with 0."""
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = 3  # seconds after the signal, while clients are still routed here

stopping = threading.Event()
closing = threading.Event()  # since no client is routed here any more


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
        while not closing.is_set():
            self.send_chunk(b"data: hello\n\n")
            closing.wait(1)
        self.send_chunk(b"")  # it marks the end of the stream: then the client asks again
        self.close_connection = True

    def send_chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the threads that answer
    request_queue_size = 128


server = Server((os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080"))), Handler)


def stop():
    time.sleep(DELAY)
    closing.set()
    server.shutdown()


def on_signal(number, frame):
    stopping.set()
    threading.Thread(target=stop).start()


signal.signal(signal.SIGTERM, on_signal)
server.serve_forever()
server.server_close()
