"""A worker that ends well when its author presses Ctrl-C, and only then."""
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
