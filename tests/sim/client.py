"""A client of a simulated detector: real pyepics and pvapy."""

import threading
from contextlib import contextmanager

import epics
import numpy as np
import pvaccess
from pvapy.utility.adImageUtility import AdImageUtility

from tests.waiting import wait_for

TIMEOUT = 30.0


class Client:
    def __init__(self, prefix):
        self.prefix = prefix
        self._pvs = {}

    def pv(self, name):
        if name not in self._pvs:
            self._pvs[name] = epics.PV(self.prefix + name, auto_monitor=False)
        assert self._pvs[name].wait_for_connection(TIMEOUT), name
        return self._pvs[name]

    def connected(self, name):
        return self._pvs[name].connected

    def get(self, name, as_string=False):
        value = self.pv(name).get(as_string=as_string, timeout=TIMEOUT)
        assert value is not None, name
        return value

    def put(self, name, value):
        assert self.pv(name).put(value, wait=True, timeout=TIMEOUT) == 1, name

    def prepare(self, images, period=0.002, **more):
        settings = {
            "cam1:ImageMode": 1,
            "cam1:NumImages": images,
            "cam1:AcquireTime": 0.0001,
            "cam1:AcquirePeriod": period,
            "cam1:ArrayCallbacks": 1,
            "Pva1:EnableCallbacks": 1,
            "Pva1:MinCallbackTime": 0,
            "Pva1:NDArrayPort": "SIM1",
            **more,
        }
        for name, value in settings.items():
            self.put(name, value)

    def start(self):
        """Acquire = 1 with a put-callback; the event is set when that completes."""
        completed = threading.Event()
        self.pv("cam1:Acquire").put(1, use_complete=True, callback=lambda **_: completed.set())
        return completed

    def acquire(self):
        assert self.start().wait(TIMEOUT)

    def stop(self):
        self.pv("cam1:Acquire").put(0)
        wait_for(lambda: self.get("cam1:Acquire_RBV") == 0, message="the detector to be idle")

    def counter(self):
        return self.get("cam1:ArrayCounter_RBV")

    def image_channel(self):
        return pvaccess.Channel(f"{self.prefix}Pva1:Image")

    def image(self):
        return self.image_channel().get("")

    @contextmanager
    def monitor(self, queue=1000):
        """(id, image) of all updates after the first one, which is what was left from before."""
        updates = []
        channel = self.image_channel()

        def take(update):  # pvapy hands over the same object each time
            image = AdImageUtility.reshapeNtNdArray(update)[1]
            updates.append((update["uniqueId"], None if image is None else image.copy()))

        channel.monitor(take, f"record[queueSize={queue}]field()")
        try:
            wait_for(lambda: updates, message="the monitor's first update")
            updates.clear()
            yield updates
        finally:
            channel.stopMonitor()


def ids(updates):
    return [unique_id for unique_id, _ in updates]


def images(updates):
    return np.array([image for _, image in updates])
