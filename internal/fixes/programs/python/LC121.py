"""A worker that takes commands on a Unix socket, and does not start again after a crash."""
import os
import pathlib
import signal
import socket
import threading

PATH = pathlib.Path(os.environ.get("SOCKET", "/tmp/worker.sock"))

stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())

commands = socket.socket(socket.AF_UNIX)
commands.bind(str(PATH))
commands.listen()
while not stopping.is_set():
    stopping.wait(1)
commands.close()
PATH.unlink()
