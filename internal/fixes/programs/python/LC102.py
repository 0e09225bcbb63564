"""A job that takes long. At a stop it is waited for, however long it takes."""
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
