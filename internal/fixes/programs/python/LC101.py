"""A worker without a handler: as PID 1 it is not terminated by the signal."""
import time


def work():
    time.sleep(0.2)


while True:
    work()
