"""A worker that waits until somebody reads its log."""
import signal
import threading
import time

stopping = threading.Event()


def log(line):
    print(line, flush=True)


def work():
    time.sleep(0.2)


def on_signal(number, frame):
    stopping.set()


signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
while not stopping.is_set():
    work()
    log("one more item is done")
log("stopped")
