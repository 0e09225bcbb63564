"""A worker that fills its cache at startup, and cannot be stopped meanwhile."""
import signal
import threading
import time

stopping = threading.Event()


def load(part):
    time.sleep(0.2)


for part in range(300):
    load(part)
signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
while not stopping.is_set():
    time.sleep(0.2)  # the work
