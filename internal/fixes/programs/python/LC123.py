"""A worker that writes a file when it is ready, and crashes on a second stop signal."""
import os
import pathlib
import signal
import threading
import time

READY = pathlib.Path(os.environ.get("READY", "/tmp/ready"))

stopping = threading.Event()


def work():
    time.sleep(0.2)


def flush():
    time.sleep(1)


def on_signal(number, frame):
    stopping.set()
    READY.unlink()


signal.signal(signal.SIGTERM, on_signal)
READY.touch()
while not stopping.is_set():
    work()
flush()
