"""A long job. At a stop it gets some seconds to finish, or else it is handed over."""
import signal
import threading
import time

PATIENCE = 2  # seconds: it is shorter than the grace period

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
    print("not finished: the next one starts it again")
