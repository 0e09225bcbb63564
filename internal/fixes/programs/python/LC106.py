"""A worker that exits with an error when it is stopped."""
import signal
import time


def work():
    time.sleep(0.2)


def on_signal(number, frame):
    raise RuntimeError("stopped")


signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
while True:
    work()
