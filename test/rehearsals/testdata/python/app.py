"""One application by WSGI and by ASGI: /slow takes a second and a half."""
import asyncio
import time


def wsgi(environ, start_response):
    body = b"hello\n"
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1.5)
        body = b"done\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b"hello\n"
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5)
        body = b"done\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
