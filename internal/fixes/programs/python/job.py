"""A job that takes long. At a stop it has some seconds, and is handed over when they are not enough."""
import signal
import threading
import time

PATIENCE = 2  # seconds: it is shorter than the grace

stopping = threading.Event()


def work():
    time.sleep(3600)


signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
job = threading.Thread(target=work, daemon=True)  # the program does not wait for it
job.start()
while job.is_alive() and not stopping.is_set():
    stopping.wait(1)
job.join(PATIENCE)
if job.is_alive():
    print("not finished: the next one begins it anew")
