"""A worker that finishes its current item after the signal, and exits with 0."""
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
