"""A simulated detector in a process of its own, and a RunEngine that keeps its documents.

Rooms import the fixtures that they need into their conftest.py.
"""

import pytest
from bluesky import RunEngine

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.devices import PvaStream
from apsdm_bluesky.sim import DetectorProcess

SIMULATION = SimulationConfig(shape=(48, 64), seed=5)


class Documents:
    """Everything a RunEngine emitted."""

    def __init__(self):
        self.all = []

    def __call__(self, name, doc):
        self.all.append((name, doc))

    def named(self, name):
        return [doc for kind, doc in self.all if kind == name]

    @property
    def stop(self):
        return self.named("stop")[-1]

    def ledger(self, device="det"):
        (descriptor,) = [doc for doc in self.named("descriptor") if doc["name"] == "ledger"]
        (event,) = [doc for doc in self.named("event") if doc["descriptor"] == descriptor["uid"]]
        return {key.removeprefix(f"{device}_"): value for key, value in event["data"].items()}


@pytest.fixture
def documents():
    return Documents()


@pytest.fixture(scope="session")
def run_engine():
    return RunEngine(context_managers=[])


@pytest.fixture
def RE(run_engine, documents):  # noqa: N802 - its name in every beamline
    token = run_engine.subscribe(documents)
    yield run_engine
    run_engine.unsubscribe(token)


def open_device(prefix, raw_root, **options):
    device = PvaStream(
        prefix, name="det", raw_root=raw_root, **{"stall_timeout_s": 1.0, "ring_mb": 16, **options}
    )
    device.wait_for_connection(timeout=60)  # 20 s were not enough once, for a reason not found
    return device


_SHARED: pytest.StashKey[str] = pytest.StashKey()


@pytest.fixture(scope="session")
def sound_detector(request):
    """The prefix of the test session's detector: one, however many conftest.py files import this fixture."""
    stash = request.config.stash
    if _SHARED not in stash:
        process = DetectorProcess("fly:", SIMULATION)
        process.start()
        stash[_SHARED] = "fly:"
        request.config.add_cleanup(process.stop)
    return stash[_SHARED]


@pytest.fixture
def det(sound_detector, tmp_path):
    device = open_device(sound_detector, tmp_path / "raw")
    yield device
    device.stop()
    device.destroy()
