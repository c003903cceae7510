import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import DetectorProcess

from .client import Client

SIMULATION = SimulationConfig(shape=(48, 64), seed=7)


@pytest.fixture(scope="session")
def shared_detector():
    with DetectorProcess("shared:", SIMULATION):
        yield Client("shared:")


@pytest.fixture
def ioc(shared_detector):
    """A running detector, idle and with known settings; its counters go on from test to test."""
    shared_detector.stop()
    shared_detector.prepare(10)
    return shared_detector
