"""A long job. At a stop the program waits for it, however long that takes."""
import signal
import threading
import time

stopping = threading.Event()


def work():
    time.sleep(3600)


signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
job = threading.Thread(target=work)
job.start()
while job.is_alive() and not stopping.is_set():
    stopping.wait(1)
job.join()
