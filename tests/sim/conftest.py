import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import DetectorProcess, GlobusProcess

from .client import Client
from .globus_client import Copies, transfer_client

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


@pytest.fixture(scope="session")
def shared_globus(tmp_path_factory):
    with GlobusProcess(tmp_path_factory.mktemp("globus")) as globus:
        yield globus


@pytest.fixture
def globus(shared_globus, monkeypatch):
    """The stand-in as it is after its first start, but for the tasks and files of earlier tests."""
    for name, value in shared_globus.environment.items():
        monkeypatch.setenv(name, value)
    yield shared_globus
    shared_globus.reset()


@pytest.fixture
def copies(globus):
    return Copies(globus, transfer_client(globus))
