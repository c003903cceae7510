"""A consumer that subscribes and then takes nothing; test_credit.py kills it."""

import sys
import threading

from apsdm_bluesky.sources import PvaSource

subscribed, never = threading.Event(), threading.Event()


def take(_):
    if subscribed.is_set():
        never.wait()


if __name__ == "__main__":
    PvaSource(sys.argv[1], credit=int(sys.argv[2])).start(take, queue_size=1)
    subscribed.set()
    print("subscribed", flush=True)
    never.wait()
