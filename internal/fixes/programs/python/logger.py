"""A worker that is not held up if nobody reads its log, and exits with 0."""
import contextlib
import os
import queue
import signal
import threading
import time

PATIENCE = 1  # seconds for the last lines of the log

stopping = threading.Event()
lines = queue.Queue(1000)


def log(line):
    with contextlib.suppress(queue.Full):  # nobody reads: the line is dropped
        lines.put_nowait(line)


def write_lines():
    while True:
        os.write(1, lines.get().encode() + b"\n")
        lines.task_done()


def work():
    time.sleep(0.2)


def on_signal(number, frame):
    stopping.set()


signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
threading.Thread(target=write_lines, daemon=True).start()
while not stopping.is_set():
    work()
    log("one more item is done")
log("stopped")
deadline = time.monotonic() + PATIENCE
while lines.unfinished_tasks and time.monotonic() < deadline:
    time.sleep(0.05)
