import datetime as dt

import pytest

from apsdm_bluesky.daq import open_daqs
from apsdm_bluesky.experiments import NewExperiment, open_experiments
from tests.cli.job_samples import Jobs
from tests.servers import tiled_server

from .clients import KINDS, dmax, session

__all__ = ["tiled_server"]

GEL = NewExperiment(
    name="gel-2026-3",
    type="XPCS",
    description="Ageing of a gel",
    proposal="0900101",
    esaf="900501",
    users=("ann", "bsample"),
    start=dt.date(2026, 10, 6),
    end=dt.date(2026, 10, 9),
)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The client takes what the environment says of proxies."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("DM_LOGIN_FILE", "DM_STATION_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="package")
def jobs(tiled_server):
    found = Jobs(tiled_server.config.home)
    yield found
    found.store.close()


@pytest.fixture(scope="package")
def experiments(tiled_server):
    store = open_experiments(tiled_server.config)
    yield store
    store.close()


@pytest.fixture(scope="package")
def daqs(tiled_server):
    store = open_daqs(tiled_server.config)
    yield store
    store.close()


@pytest.fixture(scope="package")
def gel(experiments):
    """An experiment in which Ann takes part, and Pete does not."""
    return experiments.create(GEL, actor="test")


@pytest.fixture(scope="package")
def melt(experiments):
    """An experiment without days or users."""
    return experiments.create(NewExperiment(name="melt"), actor="test")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def ann(tiled_server, kind):
    """Ann's client, of either kind."""
    station = tiled_server.config.station
    with dmax(tiled_server, "ann", kind, station=station) as client:
        yield client


@pytest.fixture
def chief(tiled_server, kind):
    station = tiled_server.config.station
    with dmax(tiled_server, "chief", kind, station=station) as client:
        yield client


@pytest.fixture(scope="package")
def ann_http(tiled_server):
    with session(tiled_server, "ann") as http:
        yield http


@pytest.fixture(scope="package")
def pete_http(tiled_server):
    with session(tiled_server, "pete") as http:
        yield http


@pytest.fixture(scope="package")
def chief_http(tiled_server):
    with session(tiled_server, "chief") as http:
        yield http


@pytest.fixture
def watched(tiled_server, request):
    """A folder that anybody may have taken."""
    (allowed,) = tiled_server.config.daq.sources
    folder = allowed / "dm-detector" / request.node.name.replace("/", "-")
    folder.mkdir(parents=True)
    return folder
