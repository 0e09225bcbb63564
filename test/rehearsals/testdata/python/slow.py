"""python3 -m http.server with one more path: /slow takes a second and a half."""
import functools
import http.server
import sys
import time


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1.5)
            self.path = "/"
        super().do_GET()


http.server.test(
    HandlerClass=functools.partial(Handler, directory=sys.argv[2]),
    ServerClass=http.server.ThreadingHTTPServer, port=int(sys.argv[1]), bind="127.0.0.1",
)
