"""A worker that ends properly on Ctrl-C, but not on SIGTERM."""
import signal
import threading
import time

stopping = threading.Event()


def work():
    time.sleep(0.2)


def on_signal(number, frame):
    stopping.set()


signal.signal(signal.SIGINT, on_signal)
while not stopping.is_set():
    work()
