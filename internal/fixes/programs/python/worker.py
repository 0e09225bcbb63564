"""A worker that finishes the item at which the signal finds it, and ends with 0."""
import signal
import threading
import time

stopping = threading.Event()


def work():
    time.sleep(0.2)


def on_signal(number, frame):
    stopping.set()


signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
while not stopping.is_set():
    work()
