"""A worker that fills its cache at startup, and can be stopped meanwhile."""
import signal
import threading
import time

stopping = threading.Event()


def load(part):
    time.sleep(0.2)


signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())  # before anything else
for part in range(300):
    if stopping.is_set():
        break  # nothing has begun yet
    load(part)
while not stopping.is_set():
    time.sleep(0.2)  # the work
